//! Whether a follower has another history than its leader: one of the two machines was put back to an
//! older state of its disk, or lost what it had said to be on it.

use std::time::Duration;

use shared::agent_api::{InstanceStatus, SAMPLE_AGE_MAX};
use shared::db::fleet::{FollowerHealth, FollowerRow, follower_health};
use shared::units::Lsn;
use tokio::time::sleep;

use crate::context::{Agents, Context};
use crate::ring::TurnError;
use crate::turns::since;

/// How long a follower may stand still while the archive has what it needs next, before it is made
/// anew: what it has is not what its leader wrote there. The longest that replay waits for readers is
/// half a minute.
pub(crate) const STANDS_AT_MOST: Duration = Duration::from_mins(30);

/// Whether what its agent has just said, and what its leader says, can only mean that.
pub(super) async fn has_diverged(
    context: &Context,
    row: &FollowerRow,
    follower: &InstanceStatus,
) -> Result<bool, TurnError> {
    let Some(health) = follower_health(&context.pool, row.resource).await? else {
        return Ok(false);
    };
    Ok(stands_still(context, &health, follower) || is_ahead(context, row, &health, follower).await)
}

fn stands_still(context: &Context, health: &FollowerHealth, status: &InstanceStatus) -> bool {
    let Some((stands_at, stands_since)) = health.stands else {
        return false;
    };
    let stands = status
        .standby()
        .is_some_and(|standby| standby.paused.is_none() && standby.replay_lsn == Some(stands_at));
    let is_archived = health
        .watermark
        .is_some_and(|watermark| watermark > stands_at);
    stands && is_archived && since(context.now(), stands_since) >= STANDS_AT_MOST
}

/// Whether it has replayed more than its leader has, which was asked after it.
async fn is_ahead(
    context: &Context,
    row: &FollowerRow,
    health: &FollowerHealth,
    status: &InstanceStatus,
) -> bool {
    let Some(replayed) = status.standby().and_then(|standby| standby.replay_lsn) else {
        return false;
    };
    let is_beyond = |flushed: Option<Lsn>| flushed.is_some_and(|flushed| replayed > flushed);
    if !is_beyond(flushed(context, row, health).await) {
        return false;
    }
    // What its agent said may have been older than what the follower said.
    sleep(SAMPLE_AGE_MAX).await;
    let flushed = flushed(context, row, health).await;
    if !is_beyond(flushed) {
        return false;
    }
    tracing::error!(
        resource.id = %row.resource, timeline.id = %row.timeline, %replayed, ?flushed,
        "a follower is ahead of its leader",
    );
    // If the archive is ahead, too, a new one would be so again: people were told of that conflict.
    health.watermark <= flushed
}

/// How far its leader has flushed now; null if that is not known.
async fn flushed(context: &Context, row: &FollowerRow, health: &FollowerHealth) -> Option<Lsn> {
    let leader = health.leader.as_ref()?;
    let agent = Agents::address(leader.server, &leader.agent)?;
    let asked = context.agents.ask(agent, row.request_id).await;
    asked.status()?.leading(leader.participant)?.flush_lsn
}
