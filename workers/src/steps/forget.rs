//! Erases what is left of a resource: its secrets and its attachment.

use shared::db::fleet::{ResourceRow, forget};

use super::Performed;
use crate::context::Context;
use crate::ring::TurnError;

/// Erases them in one write.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    Ok(forget(&context.pool, (row.id, row.version)).await?.into())
}
