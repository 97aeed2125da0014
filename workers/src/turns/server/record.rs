//! Recording what happened to a server and its participant.

use shared::db::archive::ask_to_push;
use shared::db::fleet::{
    Heard, Move, ParticipantRow, Recorded, ServerRow, move_participant, move_server, record_contact,
};
use shared::domain::{JobKind, ParticipantState, ServerState};
use shared::ids::ParticipantId;
use shared::machine::Machine as _;
use shared::machine::participant::{self, Participant};
use shared::machine::server::{self, AgentView, Server};
use shared::ports::Machine;
use shared::queue::Member;

use super::Look;
use crate::context::Context;
use crate::ring::TurnError;
use crate::steps::{Performed, wake_waiting};
use crate::turns::{deadline_at, since, told};

/// Records `event` of a server, and where it was seen.
pub(super) async fn server_event(
    context: &Context,
    row: &ServerRow,
    event: server::Event,
    look: &Look,
) -> Result<Recorded, TurnError> {
    use server::Event;
    let table_row = Server::transition(row.state, event).map_err(told::refused(Server::KIND))?;
    let now = context.now();
    let lost = match look.agent {
        AgentView::Refused => "its agent does not run",
        AgentView::TimedOut { .. } => "its agent does not answer in time",
        AgentView::NotAsked | AgentView::Answers { .. } => "its agent cannot be asked",
    };
    let mut step: Move<ServerState> = Move {
        version: row.version,
        from: row.state,
        event: event.as_str(),
        to: table_row.to,
        why: table_row.why,
        detail: (event == Event::AgentLost).then(|| lost.to_owned()),
        problem: (event == Event::AgentLost).then(|| lost.to_owned()),
        deadline_at: deadline_at(now, Server::deadline(table_row.to)),
        request_id: row.request_id,
        at: now,
    };
    if matches!(
        event,
        Event::LaunchAsked | Event::AgentAnswered | Event::RebootSeen
    ) {
        if contact(context, row, look).await? == Performed::Overtaken {
            return Ok(Recorded::Overtaken);
        }
        context.borders.within().await;
        step.version += 1;
    }
    let recorded = move_server(&context.pool, row.id, &step).await?;
    if !recorded.is_overtaken() {
        tracing::info!(
            server.id = %row.id, server.from = %step.from, event = step.event,
            server.to = %step.to, why = step.why, detail = step.detail,
            request_id = %row.request_id, "server moved",
        );
        let lasted = since(now, row.state_since);
        told::moved(Server::KIND, (step.from.as_str(), step.to.as_str()), lasted);
    }
    Ok(recorded)
}

/// Records where the machine is, and when its agent was heard.
pub(super) async fn contact(
    context: &Context,
    row: &ServerRow,
    look: &Look,
) -> Result<Performed, TurnError> {
    let unknown = Machine::absent();
    let machine = look.machine.as_ref().unwrap_or(&unknown);
    let status = look.asked.as_ref().and_then(|asked| asked.status());
    let heard = status.map(|status| Heard {
        boot_id: &status.boot_id,
        // It knows no more than that there is a disk before it has probed it.
        disk_bytes: Some(status.disk.total_bytes).filter(|bytes| *bytes > 0),
        at: context.now(),
    });
    let version = (row.id, row.version);
    Ok(record_contact(&context.pool, version, machine, heard)
        .await?
        .into())
}

/// Records `event` of a participant, and wakes the resources that wait for it.
pub(super) async fn participant_event(
    context: &Context,
    row: &ParticipantRow,
    event: participant::Event,
    look: &Look,
) -> Result<Recorded, TurnError> {
    use participant::Event;
    let table_row =
        Participant::transition(row.state, event).map_err(told::refused(Participant::KIND))?;
    let now = context.now();
    let status = look.asked.as_ref().and_then(|asked| asked.status());
    let error = status.and_then(|status| status.last_error.clone());
    let detail = match event {
        Event::CrashSeen => error.clone(),
        Event::PostgresLost => Some(
            error
                .clone()
                .unwrap_or_else(|| "its agent does not answer".to_owned()),
        ),
        Event::Instructed
        | Event::Converged
        | Event::PostgresBack
        | Event::DestroyRequested
        | Event::DataGone
        | Event::ServerGone => None,
    };
    let step: Move<ParticipantState> = Move {
        version: row.version,
        from: row.state,
        event: event.as_str(),
        to: table_row.to,
        why: table_row.why,
        problem: detail.clone().filter(|_| event == Event::PostgresLost),
        detail,
        deadline_at: deadline_at(now, Participant::deadline(table_row.to)),
        request_id: row.request_id,
        at: now,
    };
    let crashes = status
        .map(|status| status.crashes)
        .filter(|_| event == Event::CrashSeen);
    let recorded = move_participant(&context.pool, row.id, &step, crashes).await?;
    if !recorded.is_overtaken() {
        tracing::info!(
            participant.id = %row.id, participant.from = %step.from, event = step.event,
            participant.to = %step.to, why = step.why, detail = step.detail,
            request_id = %row.request_id, "participant moved",
        );
        let lasted = since(now, row.state_since);
        told::moved(
            Participant::KIND,
            (step.from.as_str(), step.to.as_str()),
            lasted,
        );
        wake_waiting(context, row.id).await?;
        if step.to == ParticipantState::Serving {
            protect(context, row.id).await?;
        }
    }
    Ok(recorded)
}

/// Has the WAL of a leader that serves pushed, if there is an archive and nobody asked for it yet.
async fn protect(context: &Context, participant: ParticipantId) -> Result<(), TurnError> {
    if context.archive.is_none() {
        return Ok(());
    }
    if let Some(timeline) = ask_to_push(&context.pool, participant, context.now()).await? {
        context
            .wake(Member::of_job(JobKind::WalPush, timeline.as_uuid()))
            .await;
    }
    Ok(())
}
