//! Looks how far followers are behind, and has those made anew that cannot go on.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics::gauge;
use shared::db::alerts::{self, NewAlert};
use shared::db::fleet::{
    FollowerLagRow, being_replaced, clear_follower_alerts, follower_lags, note_lags,
};
use shared::db::jobs::JobKey;
use shared::domain::{ArchiveAlert, JobKind, ParticipantState};
use shared::ids::RequestId;
use shared::telemetry::metrics::fleet;

use crate::context::Context;
use crate::ring::TurnError;
use crate::turns::{STANDS_AT_MOST, since};

/// Time for which a follower may have not replayed what its leader had, before people are told.
const BEHIND: Duration = Duration::from_mins(10);

/// Samples the lags, tells people about those that last, and asks for what may have to be made anew.
pub(super) async fn sweep(context: Context) -> Result<(), TurnError> {
    note_lags(&context.pool).await?;
    let found = follower_lags(&context.pool).await?;
    sample(&context, &found);
    let mut behind = Vec::new();
    for follower in &found {
        if let Some(age) = age(&context, follower).filter(|age| *age >= BEHIND) {
            behind.push(follower.resource);
            tell(&context, follower, age).await?;
        }
    }
    clear_follower_alerts(&context.pool, &behind, context.now()).await?;
    if context.archive.is_none() {
        return Ok(());
    }
    let lost = found.iter().filter(|follower| {
        // Whether they are, the job decides.
        let stands = follower.stands_since.map(|when| since(context.now(), when));
        follower.is_beyond_archive
            || follower.is_ahead
            || stands.is_some_and(|stands| stands >= STANDS_AT_MOST)
            || follower.participant_state == ParticipantState::Down
    });
    let mut troubled: BTreeSet<_> = lost.map(|follower| follower.resource).collect();
    troubled.extend(being_replaced(&context.pool).await?);
    for resource in troubled {
        let key = JobKey {
            kind: JobKind::CatchUp,
            subject_id: resource.as_uuid(),
        };
        context.ask(key, RequestId::new()).await?;
    }
    Ok(())
}

/// How long it has not replayed what its leader had.
fn age(context: &Context, follower: &FollowerLagRow) -> Option<Duration> {
    Some(since(context.now(), follower.behind_since?))
}

fn sample(context: &Context, found: &[FollowerLagRow]) {
    let ages = found.iter().filter_map(|follower| age(context, follower));
    let oldest = ages.max().unwrap_or_default();
    gauge!(fleet::FOLLOWER_SECONDS).set(oldest.as_secs_f64());
    let bytes = found.iter().filter_map(|follower| follower.bytes).max();
    // A gauge is a float: it has no use for single bytes of what may be terabytes.
    let kib = u32::try_from(bytes.unwrap_or(0) / 1024).unwrap_or(u32::MAX);
    gauge!(fleet::FOLLOWER_BYTES).set(f64::from(kib) * 1024.0);
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
    gauge!(fleet::FOLLOWERS).set(f64::from(count));
}

async fn tell(
    context: &Context,
    follower: &FollowerLagRow,
    age: Duration,
) -> Result<(), TurnError> {
    let detail = format!(
        "it has not replayed what its leader had {} minutes ago",
        age.as_secs() / 60
    );
    let new = NewAlert {
        name: ArchiveAlert::FollowerBehind.as_str(),
        subject_kind: "follower",
        subject_id: follower.resource.as_uuid(),
        resource_id: Some(follower.resource),
        detail: &detail,
        now: context.now(),
    };
    if alerts::raise(&context.pool, &new).await? {
        tracing::error!(
            resource.id = %follower.resource, timeline.id = %follower.timeline,
            behind.bytes = follower.bytes, "a follower is behind",
        );
    }
    Ok(())
}
