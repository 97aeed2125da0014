//! A new participant for a follower that cannot go on: its history is not that of its leader any more,
//! or what it misses is nowhere to be had. The new one is restored hidden, and takes over the resource
//! once it serves; until then the old one answers what it can.

use shared::agent_api::restore::{RestoreSource, RestoreStage};
use shared::archive::plan::{Plan, Unplannable};
use shared::db::archive::{Lineage, NewRestore};
use shared::db::fleet::{FollowerRow, abandon_replacement, swap_follower};
use shared::db::jobs::JobKey;
use shared::domain::{JobKind, ParticipantRole, ParticipantState};
use shared::ids::{ParticipantId, RestoreId};
use shared::queue::Member;

use crate::context::{Agents, Context};
use crate::ring::TurnError;
use crate::steps;

/// Whether a follower will never have what its leader writes.
pub(super) async fn is_lost(context: &Context, row: &FollowerRow) -> bool {
    if row.role != ParticipantRole::Follower {
        return false;
    }
    let is_gone = |replayed| row.kept_from.is_some_and(|kept_from| replayed < kept_from);
    // As long as its leader has what the archive has not, it streams on.
    let behind = row.replayed.is_some_and(is_gone);
    let Some(agent) = row
        .agent
        .as_ref()
        .and_then(|agent| Agents::address(row.server, agent))
    else {
        return false;
    };
    let asked = context.agents.ask(agent, row.request_id).await;
    let Some(status) = asked.status() else {
        return false;
    };
    let standby = status
        .postgres
        .as_ref()
        .and_then(|seen| seen.standby.as_ref());
    let streams = standby.is_some_and(|standby| standby.streams_from.is_some());
    let has_failed = status
        .restore
        .as_ref()
        .is_some_and(|restore| matches!(restore.stage, RestoreStage::Failed { .. }));
    has_failed || (behind && !streams)
}

/// Has the participant made that shall take its place, once what it begins with is in the archive.
pub(super) async fn begin(context: &Context, row: &FollowerRow) -> Result<(), TurnError> {
    let (lineage, plan) = match steps::follow_from(context, row.timeline).await? {
        None => return Ok(()),
        Some((lineage, Ok(plan))) => (lineage, plan),
        Some((_, Err(Unplannable::OutsideOfWindows { .. }))) => {
            let key = JobKey {
                kind: JobKind::BaseBackup,
                subject_id: row.timeline.as_uuid(),
            };
            context.ask(key, row.request_id).await?;
            return Ok(());
        }
        Some((_, Err(refused))) => {
            tracing::warn!(
                resource.id = %row.resource, timeline.id = %row.timeline, error = %refused,
                "a follower cannot be made anew",
            );
            return Ok(());
        }
    };
    let source = source_of(&lineage, plan, row.postgres_major);
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

fn source_of(lineage: &Lineage, plan: Plan, postgres_major: u16) -> RestoreSource {
    RestoreSource {
        postgres_major,
        system_identifier: lineage.system_identifier,
        timeline: plan.backup.timeline,
        backup: plan.backup.backup,
        path: plan.path,
        target: plan.target,
        complete_until: plan.complete_until,
        renames: Vec::new(),
    }
}

/// Ties the resource to what takes its place, once that serves. Gives whether it is over.
pub(super) async fn go_on(
    context: &Context,
    row: &FollowerRow,
    (replacement, state): (ParticipantId, ParticipantState),
) -> Result<bool, TurnError> {
    let now = context.now();
    match state {
        ParticipantState::Planned | ParticipantState::Creating | ParticipantState::Down => {
            Ok(false)
        }
        ParticipantState::Removing | ParticipantState::Removed => {
            abandon_replacement(&context.pool, row.resource, now).await?;
            Ok(false)
        }
        ParticipantState::Serving => {
            let swapped = swap_follower(&context.pool, row, replacement, now).await?;
            if swapped.is_overtaken() {
                return Ok(false);
            }
            tracing::info!(
                resource.id = %row.resource, participant.id = %replacement,
                request_id = %row.request_id, "a follower was made anew",
            );
            context.wake(Member::of_server(row.server)).await;
            Ok(true)
        }
    }
}
