//! Compares control database and queue: what should be in the queue and is not, enters.
//!
//! It only enters and wakes. A member without a row is ended by its own turn.

use metrics::counter;
use shared::queue::Ring;
use shared::telemetry::metrics::ring::AUDIT_REPAIRS;

use crate::context::Context;
use crate::ring::TurnError;
use crate::service::RingSource;

/// One audit of all rings. `enter` changes nothing for members that are there, so the whole list is
/// offered, page by page.
pub async fn sweep(context: Context) -> Result<(), TurnError> {
    let source = RingSource::new(context.pool.clone());
    for ring in Ring::ALL.iter().copied() {
        let mut after = None;
        loop {
            let page = source.members(ring, after).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let entered = context.queue.enter(ring, &page).await?;
            if entered.entered > 0 {
                let repaired = u64::try_from(entered.entered).unwrap_or(u64::MAX);
                counter!(AUDIT_REPAIRS, "repair" => "entered").increment(repaired);
                tracing::warn!(%ring, members = entered.entered, "the audit found members missing");
            }
        }
    }
    Ok(())
}
