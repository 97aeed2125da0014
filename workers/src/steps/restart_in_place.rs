//! Asks for a restart of PostgreSQL where it is.

use shared::db::fleet::{ResourceRow, request_restart};
use shared::queue::Member;

use super::Performed;
use crate::context::Context;
use crate::ring::TurnError;

/// Raises the participant's incarnation, once, whoever asks at the same time, and wakes its server.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let Some(base) = &row.base else {
        return Ok(Performed::Overtaken);
    };
    let asked = request_restart(
        &context.pool,
        base.participant,
        base.incarnation,
        context.now(),
    )
    .await?;
    tracing::info!(
        resource.id = %row.id, participant.id = %base.participant,
        request_id = %row.request_id, "asked for a restart in place",
    );
    context.wake(Member::of_server(base.server)).await;
    Ok(asked.into())
}
