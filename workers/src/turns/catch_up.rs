//! A turn of the job that ends following: one step on the way from a follower to a database of its
//! own.
//!
//! First its row says that it leads, on a timeline that begins there; that renders another spec, and
//! its agent promotes it. Then its own history gets to the archive, and only then is the request
//! answered: from that moment it is protected by itself.

use chrono::{DateTime, TimeDelta, Utc};
use shared::db::DbError;
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::ask_to_push;
use shared::db::fleet::{FollowerRow, load_follower, note_unfollowed, take_lead};
use shared::db::jobs::{self, JobKey};
use shared::domain::{ArchiveAlert, JobKind, ParticipantRole};
use shared::ids::{ResourceId, TimelineId};
use shared::machine::cadence;
use shared::queue::{Member, Outcome};

use super::{outcome, since};
use crate::context::Context;
use crate::ring::{Turn, TurnError};

/// Time after which people are told that a former follower is not in the archive by itself.
const LATE: TimeDelta = TimeDelta::minutes(10);

/// Turns follower `id` once. The job ends when it is a database of its own, or on its way out.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    id: ResourceId,
) -> Result<Outcome, TurnError> {
    let row = load_follower(&context.pool, id).await?;
    let wished = row.and_then(|row| Some((row.unfollow_requested_at?, row)));
    let Some((requested_at, row)) = wished else {
        let key = JobKey {
            kind: JobKind::CatchUp,
            subject_id: id.as_uuid(),
        };
        jobs::finish(&context.pool, key).await?;
        return Ok(Outcome::Done);
    };
    if !turn.still_mine() {
        return Ok(outcome::overtaken());
    }
    match row.role {
        ParticipantRole::Follower => lead(context, &row).await?,
        ParticipantRole::Leader if row.is_archived => {
            end(context, &row).await?;
            return Ok(Outcome::Done);
        }
        ParticipantRole::Leader => protect(context, &row, requested_at).await?,
        // No resource is on one.
        ParticipantRole::Proof => {}
    }
    let pause = cadence::waiting(since(context.now(), requested_at));
    Ok(outcome::again(turn, pause))
}

/// Makes it the leader of a timeline of its own.
async fn lead(context: &Context, row: &FollowerRow) -> Result<(), TurnError> {
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
async fn protect(
    context: &Context,
    row: &FollowerRow,
    requested_at: DateTime<Utc>,
) -> Result<(), TurnError> {
    let now = context.now();
    ask_to_push(&context.pool, row.participant, now).await?;
    let push = Member::of_job(JobKind::WalPush, row.timeline.as_uuid());
    context.wake(push).await;
    if now - requested_at < LATE {
        return Ok(());
    }
    let detail = format!(
        "it was asked to go on by itself at {}, and nothing of its own history is in the archive",
        requested_at.format("%Y-%m-%d %H:%M:%S UTC")
    );
    let new = NewAlert {
        name: ArchiveAlert::UnfollowLate.as_str(),
        subject_kind: "timeline",
        subject_id: row.timeline.as_uuid(),
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

async fn end(context: &Context, row: &FollowerRow) -> Result<(), TurnError> {
    let now = context.now();
    if note_unfollowed(&context.pool, row.resource, now)
        .await?
        .is_overtaken()
    {
        return Ok(());
    }
    let (name, id) = (ArchiveAlert::UnfollowLate.as_str(), row.timeline.as_uuid());
    alerts::clear(&context.pool, name, id, now).await?;
    tracing::info!(
        resource.id = %row.resource, timeline.id = %row.timeline, request_id = %row.request_id,
        "a follower is a database of its own",
    );
    Ok(())
}
