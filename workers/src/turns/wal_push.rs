//! A turn of a timeline whose WAL is pushed to the archive.

use std::time::Duration;

use shared::db::archive::load_push;
use shared::db::jobs::{self, JobKey};
use shared::domain::JobKind;
use shared::ids::TimelineId;
use shared::queue::Outcome;

use super::outcome;
use crate::context::Context;
use crate::ring::{Turn, TurnError};

/// Time between two looks at a timeline that cannot be pushed for now.
const REST: Duration = Duration::from_mins(1);

/// Turns `timeline` once. The job ends when no leader is left; a new one is asked for with the next.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    timeline: TimelineId,
) -> Result<Outcome, TurnError> {
    let Some(row) = load_push(&context.pool, timeline).await? else {
        return Ok(Outcome::Done);
    };
    if row.leader.is_none() {
        let key = JobKey {
            kind: JobKind::WalPush,
            subject_id: timeline.as_uuid(),
        };
        jobs::finish(&context.pool, key).await?;
        return Ok(Outcome::Done);
    }
    Ok(outcome::again(turn, REST))
}
