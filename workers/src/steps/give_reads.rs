//! Gives an agent that restores what it wants to read, and stores how far it is.

use chrono::TimeDelta;
use shared::agent_api::restore::{RestoreStage, RestoreStatus};
use shared::archive::SIGNED_FOR;
use shared::archive::reads::{Asker, sign_reads};
use shared::db::archive::{Patience, RestoreProgress, note_restore_progress};
use shared::db::fleet::{ParticipantRow, ServerRow};
use shared::domain::{ParticipantState, ResourceState};
use shared::machine::Machine;
use shared::machine::participant::Participant;
use shared::machine::resource::Resource;
use shared::ports::Address;

use super::Performed;
use crate::context::{Agents, Asked, Context};
use crate::ring::TurnError;

/// Signs what `asked` wants. Nothing of it decides how far the restore goes: that is in the spec.
pub(crate) async fn give_reads(
    context: &Context,
    server: &ServerRow,
    row: &ParticipantRow,
    asked: Option<&Asked>,
) -> Result<Performed, TurnError> {
    let (Some(status), Some(restore)) = (asked.and_then(Asked::status), &row.restore) else {
        return Ok(Performed::Done);
    };
    let Some(wanted) = &status.restore else {
        return Ok(Performed::Done);
    };
    note(context, row, wanted).await?;
    let Some(archive) = &context.archive else {
        return Ok(Performed::Done);
    };
    let asker = Asker {
        participant: row.id,
        generation: row.generation,
        segment_bytes: restore.segment_bytes,
    };
    let of = (&restore.source, asker);
    let Some(reads) = sign_reads(archive.store.as_ref(), of, wanted, SIGNED_FOR).await? else {
        return Ok(Performed::Done);
    };
    context.borders.within().await;
    let host = server.host.clone().zip(server.agent_port);
    let address = host.map(|(host, port)| Address { host, port });
    if let Some(agent) = address.and_then(|address| Agents::address(server.id, &address)) {
        let client = context.agents.client();
        client.allow_reads(agent, &reads, row.request_id).await?;
    }
    Ok(Performed::Done)
}

/// Stores how far it is, while somebody waits for it.
async fn note(
    context: &Context,
    row: &ParticipantRow,
    status: &RestoreStatus,
) -> Result<(), TurnError> {
    if row.state != ParticipantState::Creating {
        return Ok(());
    }
    let problem = match &status.stage {
        RestoreStage::Failed { detail } => Some(detail.as_str()),
        RestoreStage::Fetching | RestoreStage::Replaying | RestoreStage::Finished(_) => None,
    };
    let progress = RestoreProgress {
        bytes_done: status.bytes_done,
        bytes_total: status.bytes_total,
        replay: status.replay_lsn,
    };
    let now = context.now();
    let patience = Patience {
        participant: now + waits_at_most::<Participant>(row.state),
        resource: now + waits_at_most::<Resource>(ResourceState::Creating),
    };
    note_restore_progress(&context.pool, row.id, (progress, problem), patience, now).await?;
    Ok(())
}

/// How long a state may last before somebody is told.
fn waits_at_most<M: Machine>(state: M::State) -> TimeDelta {
    let deadline = M::deadline(state).map(|deadline| deadline.after);
    let deadline = deadline.and_then(|after| TimeDelta::from_std(after).ok());
    deadline.unwrap_or_default()
}
