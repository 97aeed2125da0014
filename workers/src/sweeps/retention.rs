//! Looks which timelines have more in the archive than is kept.

use std::collections::BTreeSet;

use shared::db::archive::{past_retention, past_their_end, with_leftovers};
use shared::db::jobs::JobKey;
use shared::domain::JobKind;
use shared::ids::RequestId;

use crate::context::Context;
use crate::ring::TurnError;

/// Asks for what may be deleted. Whether it is, the job decides.
pub async fn sweep(context: Context) -> Result<(), TurnError> {
    if context.archive.is_none() {
        return Ok(());
    }
    let (pool, now) = (&context.pool, context.now());
    let mut found = BTreeSet::new();
    found.extend(with_leftovers(pool, now).await?);
    found.extend(past_retention(pool, now).await?);
    found.extend(past_their_end(pool, now).await?);
    for timeline in found {
        let key = JobKey {
            kind: JobKind::Expire,
            subject_id: timeline.as_uuid(),
        };
        context.ask(key, RequestId::new()).await?;
    }
    Ok(())
}
