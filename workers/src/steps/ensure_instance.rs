//! Has the provider make, start or destroy the machine of a server.

use std::net::IpAddr;

use shared::db::fleet::{ServerRow, record_contact};
use shared::ports::{Credentials, MachineState, ServerOrder};

use super::Performed;
use crate::context::Context;
use crate::ring::TurnError;

/// Asks the provider for the machine and its agent, and stores where they are.
pub(crate) async fn ensure_instance(
    context: &Context,
    row: &ServerRow,
) -> Result<Performed, TurnError> {
    let addresses: Vec<IpAddr> = row
        .host
        .iter()
        .filter_map(|host| host.parse().ok())
        .collect();
    let identity =
        context
            .authority
            .issue_for_server(row.id, &addresses, context.clock.as_ref())?;
    let order = ServerOrder {
        server: row.id,
        request_id: row.request_id,
        credentials: Credentials {
            certificate: identity.certificate_pem,
            key: identity.key_pem,
            authority: context.authority.certificate_pem().to_owned(),
        },
    };
    let machine = context.provider.ensure(&order).await?;
    context.borders.within().await;
    let version = (row.id, row.version);
    Ok(record_contact(&context.pool, version, &machine, None)
        .await?
        .into())
}

/// Has the machine and everything on it destroyed.
pub(crate) async fn destroy_instance(
    context: &Context,
    row: &ServerRow,
) -> Result<Performed, TurnError> {
    let left = context.provider.destroy(row.id).await?;
    if left.state == MachineState::Absent {
        tracing::info!(server.id = %row.id, request_id = %row.request_id, "destroyed an instance");
    }
    Ok(Performed::Done)
}
