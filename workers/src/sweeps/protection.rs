//! Looks whether every leader's WAL gets to the archive in time, whoever should bring it there.

use metrics::gauge;
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::{
    Lagging, ask_for_pushes, lagging, note_who_is_behind, settle_ended, whole_again,
};
use shared::domain::{ArchiveAlert, JobKind};
use shared::queue::Member;
use shared::telemetry::metrics::archive;

use crate::context::Context;
use crate::ring::TurnError;
use crate::turns::since;

/// Asks for pushes that nobody asked for, tells people about those that come too late, and settles
/// what was told of timelines that have ended.
pub(super) async fn sweep(context: Context) -> Result<(), TurnError> {
    if context.archive.is_some() {
        look(&context).await?;
    }
    // Last: what was just told may have been about one that ended meanwhile.
    settle_ended(&context.pool, context.now()).await?;
    Ok(())
}

async fn look(context: &Context) -> Result<(), TurnError> {
    for timeline in ask_for_pushes(&context.pool, context.now()).await? {
        context
            .wake(Member::of_job(JobKind::WalPush, timeline))
            .await;
    }
    note_who_is_behind(&context.pool, context.now()).await?;
    let found = lagging(&context.pool).await?;
    sample(context, &found);
    for timeline in &found {
        tell(context, timeline).await?;
    }
    for timeline in whole_again(&context.pool).await? {
        let name = ArchiveAlert::Gap.as_str();
        alerts::clear(&context.pool, name, timeline.as_uuid(), context.now()).await?;
    }
    Ok(())
}

fn sample(context: &Context, found: &[Lagging]) {
    let ages = found.iter().filter_map(|timeline| timeline.since);
    let oldest = ages.map(|at| since(context.now(), at).as_secs_f64());
    gauge!(archive::BEHIND_SECONDS).set(oldest.fold(0.0, f64::max));
    let waiting = found.iter().filter(|timeline| timeline.since.is_some());
    let count = u32::try_from(waiting.count()).unwrap_or(u32::MAX);
    gauge!(archive::TIMELINES_BEHIND).set(f64::from(count));
    let kib = found
        .iter()
        .map(|timeline| timeline.bytes / 1024)
        .sum::<i64>();
    // A gauge is a float: it has no use for single bytes of what may be terabytes.
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    gauge!(archive::BEHIND_BYTES).set(f64::from(kib) * 1024.0);
}

/// Raises the alert of a timeline that waits longer than its plan allows, and clears that of one
/// that waits no more.
async fn tell(context: &Context, timeline: &Lagging) -> Result<(), TurnError> {
    let (name, id) = (ArchiveAlert::Behind.as_str(), timeline.timeline.as_uuid());
    let now = context.now();
    let Some(waits_since) = timeline.since else {
        alerts::clear(&context.pool, name, id, now).await?;
        return Ok(());
    };
    let grace = u64::from(timeline.grace_s.unsigned_abs());
    if since(now, waits_since).as_secs() < grace {
        return Ok(());
    }
    let detail = format!(
        "what was written since {} is not in the archive: a lost server would lose it",
        waits_since.format("%Y-%m-%d %H:%M:%S UTC")
    );
    let new = NewAlert {
        name,
        subject_kind: "timeline",
        subject_id: id,
        resource_id: timeline.resource,
        detail: &detail,
        now,
    };
    if alerts::raise(&context.pool, &new).await? {
        tracing::error!(
            timeline.id = %timeline.timeline, behind.since = %waits_since,
            behind.bytes = timeline.bytes, "WAL does not get to the archive in time",
        );
    }
    Ok(())
}
