//! Renews the certificate of an agent, for the key it has.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use shared::agent_api::InstanceStatus;
use shared::db::fleet::ServerRow;
use shared::pki::LIFETIME;
use shared::ports::Address;

use super::Performed;
use crate::context::{Agents, Context};
use crate::ring::TurnError;

/// Whether an agent's certificate is in the last third of its life, or does not name `host`, its
/// address.
pub(crate) fn certificate_is_due(
    now: DateTime<Utc>,
    host: Option<&str>,
    status: &InstanceStatus,
) -> bool {
    let address: Option<IpAddr> = host.and_then(|host| host.parse().ok());
    let names_address = match (address, &status.certificate_addresses) {
        (Some(address), Some(named)) => named.contains(&address),
        (None, _) | (_, None) => true,
    };
    status.certificate_not_after - now < LIFETIME / 3 || !names_address
}

/// Signs a new certificate and hands it over.
pub(crate) async fn renew_certificate(
    context: &Context,
    row: &ServerRow,
) -> Result<Performed, TurnError> {
    let Some((host, port)) = row.host.clone().zip(row.agent_port) else {
        return Ok(Performed::Overtaken);
    };
    let addresses: Vec<IpAddr> = host.parse().into_iter().collect();
    let Some(agent) = Agents::address(row.id, &Address { host, port }) else {
        return Ok(Performed::Overtaken);
    };
    let client = context.agents.client();
    let current = client.certificate(agent, row.request_id).await?;
    let renewed =
        context
            .authority
            .renew_for_server(&current, row.id, &addresses, context.clock.as_ref())?;
    context.borders.within().await;
    client
        .replace_certificate(agent, renewed, row.request_id)
        .await?;
    tracing::info!(server.id = %row.id, request_id = %row.request_id, "renewed a certificate");
    Ok(Performed::Done)
}
