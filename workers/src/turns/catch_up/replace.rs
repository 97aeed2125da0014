//! A new participant for a follower that cannot go on: its history is not that of its leader any more,
//! or what it misses is nowhere to be had. The new one is restored hidden, and takes over the resource
//! once it serves; until customers get to it the old one answers what it can.

use std::time::Duration;

use shared::agent_api::InstanceStatus;
use shared::agent_api::restore::RestoreStage;
use shared::archive::plan::Unplannable;
use shared::db::DbError;
use shared::db::archive::NewRestore;
use shared::db::fleet::{FollowerRow, Replacement, let_go_of_replaced, swap_follower};
use shared::domain::{ParticipantRole, ParticipantState};
use shared::ids::RestoreId;
use shared::queue::Member;

use super::diverged;
use crate::context::{Agents, Context};
use crate::ring::TurnError;
use crate::steps;
use crate::turns::since;

/// How long a follower may be down before it is made anew. It holds nothing that is not elsewhere, so
/// there is nothing to be waited for longer.
const DOWN_AT_MOST: Duration = Duration::from_mins(10);

/// Whether a follower will never have what its leader writes.
pub(super) async fn is_lost(context: &Context, row: &FollowerRow) -> Result<bool, TurnError> {
    if row.role != ParticipantRole::Follower {
        return Ok(false);
    }
    let is_down = row.participant_state == ParticipantState::Down;
    if is_down && since(context.now(), row.participant_since) >= DOWN_AT_MOST {
        return Ok(true);
    }
    let address = row.agent.as_ref();
    let Some(agent) = address.and_then(|agent| Agents::address(row.server, agent)) else {
        return Ok(false);
    };
    let asked = context.agents.ask(agent, row.request_id).await;
    let Some(status) = asked.status() else {
        return Ok(false);
    };
    Ok(says_lost(row, status) || diverged::has_diverged(context, row, status).await?)
}

/// Whether what its agent says can only mean that.
fn says_lost(row: &FollowerRow, status: &InstanceStatus) -> bool {
    if row.acknowledged_generation > 0 && status.participant.is_none() {
        return true;
    }
    let stage = status.restore.as_ref().map(|restore| &restore.stage);
    if matches!(stage, Some(RestoreStage::Failed { .. })) {
        return true;
    }
    status.standby().is_some_and(|standby| {
        let replayed = standby.replay_lsn.zip(row.kept_from);
        let is_beyond_archive = replayed.is_some_and(|(replayed, kept)| replayed < kept);
        // As long as its leader has what the archive has not, it streams on.
        is_beyond_archive && standby.streams_from.is_none()
    })
}

/// Has the participant made that shall take its place, once what it begins with is in the archive.
pub(super) async fn begin(context: &Context, row: &FollowerRow) -> Result<(), TurnError> {
    let (lineage, plan) = match steps::plan_what_is_archived(context, row.timeline).await? {
        None => return Ok(()),
        Some((lineage, Ok(plan))) => (lineage, plan),
        Some((_, Err(Unplannable::OutsideOfWindows { .. }))) => {
            return steps::ask_for_backup(context, row.timeline, row.request_id).await;
        }
        Some((_, Err(refused))) => {
            tracing::warn!(
                resource.id = %row.resource, timeline.id = %row.timeline, error = %refused,
                "a follower cannot be made anew",
            );
            return Ok(());
        }
    };
    // It has the names of its original.
    let source = lineage.source(plan, row.postgres_major, Vec::new());
    let restore = NewRestore {
        id: RestoreId::new(),
        source: &source,
        segment_bytes: lineage.segment_bytes,
        request_id: row.request_id,
        now: context.now(),
    };
    if steps::replace(context, row, &restore).await? == steps::Performed::Done {
        tracing::warn!(
            resource.id = %row.resource, participant.id = %row.participant,
            restore.id = %restore.id, request_id = %row.request_id,
            "a follower cannot go on and is made anew",
        );
    }
    Ok(())
}

/// Ties the resource to what takes its place, once that serves.
pub(super) async fn go_on(
    context: &Context,
    row: &FollowerRow,
    replacement: &Replacement,
) -> Result<(), TurnError> {
    let will_never_serve = match replacement.state {
        ParticipantState::Planned | ParticipantState::Creating | ParticipantState::Down => {
            replacement.problem.is_some()
        }
        ParticipantState::Serving => false,
        ParticipantState::Removing | ParticipantState::Removed => true,
    };
    // It may have been found and promoted meanwhile.
    if will_never_serve || row.role != ParticipantRole::Follower {
        let (participant, now) = (replacement.participant, context.now());
        let_go_of_replaced(&context.pool, row.resource, participant, now).await?;
        return Ok(());
    }
    if replacement.state == ParticipantState::Serving {
        swap(context, row, replacement).await?;
    }
    Ok(())
}

async fn swap(
    context: &Context,
    row: &FollowerRow,
    replacement: &Replacement,
) -> Result<(), TurnError> {
    let failed = DbError::during("replace a follower");
    let mut transaction = context.pool.begin().await.map_err(failed)?;
    let swapped = swap_follower(&mut transaction, row, replacement.participant).await?;
    if swapped.is_overtaken() {
        return Ok(());
    }
    transaction.commit().await.map_err(failed)?;
    tracing::info!(
        resource.id = %row.resource, participant.id = %replacement.participant,
        request_id = %row.request_id, "a follower was made anew",
    );
    context.wake(Member::of_server(replacement.server)).await;
    context
        .wake(Member::of_resource(&row.plan, row.resource))
        .await;
    Ok(())
}
