//! From a follower to a database of its own.
//!
//! First its row says that it leads, on a timeline that begins there; that renders another spec, and
//! its agent promotes it. Then its own history gets to the archive, and only then is the request
//! answered: from that moment it is protected by itself.

use chrono::{DateTime, TimeDelta, Utc};
use shared::db::DbError;
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::ask_to_push;
use shared::db::fleet::{FollowerRow, note_unfollowed, take_lead};
use shared::domain::{ArchiveAlert, JobKind};
use shared::ids::TimelineId;
use shared::queue::Member;

use crate::context::Context;
use crate::ring::TurnError;

/// Time after which people are told that a former follower is not in the archive by itself.
const LATE: TimeDelta = TimeDelta::minutes(10);

/// Makes it the leader of a timeline of its own.
pub(super) async fn lead(context: &Context, row: &FollowerRow) -> Result<(), TurnError> {
    let timeline = TimelineId::new();
    let failed = DbError::during("make a leader of a follower");
    let mut transaction = context.pool.begin().await.map_err(failed)?;
    let taken = take_lead(&mut transaction, row, timeline, context.now()).await?;
    if taken.is_overtaken() {
        return Ok(());
    }
    transaction.commit().await.map_err(failed)?;
    tracing::info!(
        resource.id = %row.resource, participant.id = %row.participant, timeline.id = %timeline,
        parent.id = %row.timeline, request_id = %row.request_id, "a follower shall lead",
    );
    context.wake(Member::of_server(row.server)).await;
    Ok(())
}

/// Has its own history brought to the archive.
pub(super) async fn protect(context: &Context, row: &FollowerRow) -> Result<(), TurnError> {
    ask_to_push(&context.pool, row.participant, context.now()).await?;
    let push = Member::of_job(JobKind::WalPush, row.timeline.as_uuid());
    context.wake(push).await;
    Ok(())
}

/// Tells people about one that takes long, whatever it waits for.
pub(super) async fn tell_if_late(
    context: &Context,
    row: &FollowerRow,
    requested_at: DateTime<Utc>,
) -> Result<(), TurnError> {
    let now = context.now();
    if now - requested_at < LATE {
        return Ok(());
    }
    let detail = format!(
        "it was asked to go on by itself at {}, and is not protected as a database of its own",
        requested_at.format("%Y-%m-%d %H:%M:%S UTC")
    );
    let new = NewAlert {
        name: ArchiveAlert::UnfollowLate.as_str(),
        subject_kind: "follower",
        subject_id: row.resource.as_uuid(),
        resource_id: Some(row.resource),
        detail: &detail,
        now,
    };
    if alerts::raise(&context.pool, &new).await? {
        tracing::error!(
            resource.id = %row.resource, timeline.id = %row.timeline,
            "a former follower is not protected in time",
        );
    }
    Ok(())
}

/// Answers the request: it is a database of its own.
pub(super) async fn end(context: &Context, row: &FollowerRow) -> Result<(), TurnError> {
    if note_unfollowed(&context.pool, row.resource, context.now())
        .await?
        .is_overtaken()
    {
        return Ok(());
    }
    tracing::info!(
        resource.id = %row.resource, timeline.id = %row.timeline, request_id = %row.request_id,
        "a follower is a database of its own",
    );
    Ok(())
}
