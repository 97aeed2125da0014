//! The part of a server's turn that is about the participant on it.

use shared::db::fleet::{DatabaseWish, ParticipantRow, ServerRow, request_server_end};
use shared::domain::MachineKind;
use shared::machine::participant::{Participant, Step};
use shared::machine::{Act, Machine as _};

use super::{Hop, Look, facts, record, rest};
use crate::context::Context;
use crate::ring::TurnError;
use crate::steps::{self, Performed, Rendered};
use crate::turns::alerts;

/// One hop of the participant's machine.
pub(super) async fn hop(
    context: &Context,
    server: &ServerRow,
    (row, wishes): (&ParticipantRow, &[DatabaseWish]),
    look: &Look,
) -> Result<Hop, TurnError> {
    let desired = steps::desired(context, server, row, wishes)?;
    let current = desired.is_instructed(row);
    let facts = facts::of_participant(context, server, row, look, current);
    let decision = Participant::decide(&facts);
    if let Some(event) = decision.event {
        let act = Act::ParticipantEvent(row.state, event);
        context.borders.begins(act).await;
        let recorded = record::participant_event(context, row, event, look).await?;
        context.borders.ends().await;
        return Ok(Hop::after(recorded));
    }
    if let Some(step) = decision.step {
        context.borders.begins(Act::ParticipantStep(step)).await;
        let performed = perform(context, server, row, step, &desired, look).await?;
        context.borders.ends().await;
        if performed == Performed::Overtaken {
            return Ok(Hop::Overtaken);
        }
        if decision.come_back.is_zero() {
            return Ok(Hop::Again);
        }
    }
    let before = alerts::Before {
        open: row.open_alert.as_deref(),
        deadline_at: row.deadline_at,
    };
    rest(
        context,
        (MachineKind::Participant, row.id.as_uuid()),
        before,
        &decision,
    )
    .await
}

async fn perform(
    context: &Context,
    server: &ServerRow,
    row: &ParticipantRow,
    step: Step,
    desired: &Rendered,
    look: &Look,
) -> Result<Performed, TurnError> {
    tracing::debug!(
        participant.id = %row.id, step = %step, request_id = %row.request_id, "performs",
    );
    match step {
        Step::Instruct => steps::instruct(context, server, row, desired).await,
        Step::Acknowledge => steps::acknowledge(context, row, look.asked.as_ref()).await,
        Step::GiveReads => steps::give_reads(context, server, row, look.asked.as_ref()).await,
        Step::MarkServerForDestruction => {
            request_server_end(&context.pool, server.id, context.now()).await?;
            Ok(Performed::Done)
        }
    }
}
