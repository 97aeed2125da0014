//! Wakes the server of a resource, whose own turn tells the agent what the resource needs.

use shared::db::fleet::ResourceRow;
use shared::queue::Member;

use super::Performed;
use crate::context::Context;
use crate::ring::TurnError;

/// Wakes it; nothing happens for a resource without one.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    if let Some(base) = &row.base {
        context.wake(Member::of_server(base.server)).await;
    }
    Ok(Performed::Done)
}
