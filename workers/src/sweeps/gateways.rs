//! Tells people about replicas of the gateway that are silent, or do not do what they were told.

use chrono::TimeDelta;
use shared::db::alerts::{self, NewAlert};
use shared::db::gateways::{self, Gateway};
use shared::domain::GatewayAlert;

use crate::context::Context;
use crate::ring::TurnError;
use crate::turns::since;

/// How long a replica may be silent before people are told: one that is started anew takes seconds.
const SILENT: TimeDelta = TimeDelta::seconds(30);

/// How long a silent one is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// Looks at each replica, and forgets those that are gone for good.
pub(super) async fn sweep(context: Context) -> Result<(), TurnError> {
    let now = context.now();
    for gateway in gateways::all(&context.pool).await? {
        if !gateway.live && now - gateway.seen_at > REMEMBERED {
            gateways::leave(&context.pool, gateway.id).await?;
            continue;
        }
        let silent = (!gateway.live && now - gateway.seen_at > SILENT).then(|| {
            let seconds = since(now, gateway.seen_at).as_secs();
            format!("nothing was heard of it for {seconds} seconds")
        });
        settle(&context, &gateway, GatewayAlert::Silent, silent).await?;
        // What a silent one said last may be over, or not.
        if gateway.live {
            let problem = gateway.problem.clone();
            settle(&context, &gateway, GatewayAlert::Impaired, problem).await?;
        }
    }
    Ok(gateways::clear_alerts_of_gone(&context.pool, now).await?)
}

/// Raises the alert if there is a detail, and clears it if there is none.
async fn settle(
    context: &Context,
    gateway: &Gateway,
    alert: GatewayAlert,
    detail: Option<String>,
) -> Result<(), TurnError> {
    let (name, subject_id) = (alert.as_str(), gateway.id.as_uuid());
    let Some(detail) = detail else {
        alerts::clear(&context.pool, name, subject_id, context.now()).await?;
        return Ok(());
    };
    let new = NewAlert {
        name,
        subject_kind: "gateway",
        subject_id,
        resource_id: None,
        detail: &detail,
        now: context.now(),
    };
    if alerts::raise(&context.pool, &new).await? {
        tracing::error!(gateway.id = %gateway.id, alert = name, detail, "a gateway is not well");
    }
    Ok(())
}
