//! Takes the URL of a resource away.

use shared::db::fleet::{ResourceRow, allocate_route, withdraw};
use shared::queue::Member;

use super::Performed;
use crate::context::Context;
use crate::ring::TurnError;

/// Allocates a generation, withdraws the endpoint, then erases the address; a participant that
/// lived for this resource alone is asked to go in the same write.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let generation = row.endpoint_generation + 1;
    let version = (row.id, row.version);
    if allocate_route(&context.pool, version, generation)
        .await?
        .is_overtaken()
    {
        return Ok(Performed::Overtaken);
    }
    context.borders.within().await;
    context.endpoint.withdraw(row.id, generation).await?;
    context.borders.within().await;
    let version = (row.id, row.version + 1);
    let recorded = withdraw(&context.pool, version, generation, context.now()).await?;
    if let Some(base) = row.base.as_ref().filter(|_| !recorded.is_overtaken()) {
        context.wake(Member::of_server(base.server)).await;
    }
    Ok(recorded.into())
}
