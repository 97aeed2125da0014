//! A turn of the job that brings a follower to where it shall be: one step on the way to a database of
//! its own, if that was asked for, or else to its leader, if it cannot come there by itself.

mod diverged;
mod replace;
mod unfollow;

pub(crate) use diverged::STANDS_AT_MOST;
use shared::db::alerts;
use shared::db::fleet::{FollowerRow, let_go_of_replaced, load_follower, orphans_of};
use shared::db::jobs::{self, JobKey};
use shared::domain::{ArchiveAlert, JobKind, ParticipantRole};
use shared::ids::ResourceId;
use shared::machine::cadence;
use shared::queue::{Member, Outcome};

use super::{outcome, since};
use crate::context::Context;
use crate::ring::{Turn, TurnError};

/// Turns follower `id` once. The job ends when it is where it shall be, or on its way out.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    id: ResourceId,
) -> Result<Outcome, TurnError> {
    let Some(row) = load_follower(&context.pool, id).await? else {
        for participant in orphans_of(&context.pool, id).await? {
            let_go_of_replaced(&context.pool, id, participant, context.now()).await?;
        }
        let late = ArchiveAlert::UnfollowLate.as_str();
        alerts::clear(&context.pool, late, id.as_uuid(), context.now()).await?;
        jobs::finish(&context.pool, key(id)).await?;
        return Ok(Outcome::Done);
    };
    if !turn.still_mine() {
        return Ok(outcome::overtaken());
    }
    if step(context, &row).await?
        && jobs::finish_as_asked(&context.pool, key(id), row.request_id).await?
    {
        return Ok(Outcome::Done);
    }
    if let Some(requested_at) = row.unfollow_requested_at {
        unfollow::tell_if_late(context, &row, requested_at).await?;
    }
    let begun = row.unfollow_requested_at.unwrap_or(row.asked_at);
    let pause = cadence::waiting(since(context.now(), begun));
    Ok(outcome::again(turn, pause))
}

/// Does what is next; gives whether nothing is.
async fn step(context: &Context, row: &FollowerRow) -> Result<bool, TurnError> {
    if let Some(replaced) = row.replaced {
        if row.took_over {
            let now = context.now();
            let_go_of_replaced(&context.pool, row.resource, replaced, now).await?;
        } else {
            context
                .wake(Member::of_resource(&row.plan, row.resource))
                .await;
        }
        return Ok(false);
    }
    if let Some(replacement) = &row.replacement {
        replace::go_on(context, row, replacement).await?;
        return Ok(false);
    }
    if replace::is_lost(context, row).await? {
        replace::begin(context, row).await?;
        return Ok(false);
    }
    if row.unfollow_requested_at.is_none() {
        return Ok(true);
    }
    match row.role {
        ParticipantRole::Follower => unfollow::lead(context, row).await?,
        ParticipantRole::Leader if row.is_protected => unfollow::end(context, row).await?,
        ParticipantRole::Leader => unfollow::protect(context, row).await?,
        // No resource is on one.
        ParticipantRole::Proof | ParticipantRole::Donor => {}
    }
    Ok(false)
}

fn key(id: ResourceId) -> JobKey {
    JobKey {
        kind: JobKind::CatchUp,
        subject_id: id.as_uuid(),
    }
}
