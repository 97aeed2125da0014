//! Gives an agent that restores what it wants to read, and stores how far it is.

use shared::agent_api::restore::RestoreStatus;
use shared::archive::SIGNED_FOR;
use shared::archive::reads::{Asker, sign_reads};
use shared::db::archive::{Patience, RestoreProgress, note_restore_progress};
use shared::db::fleet::{ParticipantRow, ServerRow};
use shared::domain::{ParticipantState, ResourceState};
use shared::machine::Machine as _;
use shared::machine::participant::Participant;
use shared::machine::resource::Resource;

use super::Performed;
use crate::context::{Agents, Asked, Context};
use crate::ring::TurnError;
use crate::turns::deadline_at;

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
    if let Some(agent) = Agents::of(server) {
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
    let problem = status.failure();
    let progress = RestoreProgress {
        bytes_done: status.bytes_done,
        bytes_total: status.bytes_total,
        replay: status.replay_lsn,
    };
    let now = context.now();
    let patience = Patience {
        participant: deadline_at(now, Participant::deadline(row.state)).unwrap_or(now),
        resource: deadline_at(now, Resource::deadline(ResourceState::Creating)).unwrap_or(now),
    };
    note_restore_progress(&context.pool, row.id, (progress, problem), patience, now).await?;
    Ok(())
}
