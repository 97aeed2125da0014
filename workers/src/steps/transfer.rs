//! Brings the database of a copy over from the hidden instance that was restored for it.

use shared::agent_api::Upstream;
use shared::agent_api::client::AgentError;
use shared::agent_api::transfer::{TransferOrder, TransferPhase, TransferStatus};
use shared::db::fleet::{
    Base, Donor, ResourceRow, TransferRow, fail_transfer, load_transfer, note_transfer_progress,
    note_transferred,
};
use shared::domain::{ParticipantState, ResourceState};
use shared::machine::Machine as _;
use shared::machine::resource::Resource;
use shared::queue::Member;

use super::{Performed, contexts};
use crate::context::{Agents, Context};
use crate::ring::TurnError;
use crate::turns::{deadline_at, is_passing};

/// Why a copy is not made whose donor goes before it has given everything.
const GONE: &str = "the hidden server that it was restored on is gone; ask for the copy again";

/// Comes one step nearer to a database that is whole where `row` is.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let (Some(transfer), Some(base)) = (load_transfer(&context.pool, row.id).await?, &row.base)
    else {
        return Ok(Performed::Overtaken);
    };
    let Some(from) = address(&transfer.donor) else {
        if is_lost(&transfer.donor) {
            return refuse(context, row, GONE).await;
        }
        context.wake(Member::of_server(transfer.donor.server)).await;
        return Ok(Performed::Done);
    };
    let Some(agent) = base
        .agent
        .as_ref()
        .and_then(|agent| Agents::address(base.server, agent))
    else {
        return Ok(Performed::Done);
    };
    let order = order(context, row, (base, &transfer), from)?;
    let client = context.agents.client();
    let answer = client.transfer(agent, &order, row.request_id).await;
    context.borders.within().await;
    match answer {
        Ok(status) => note(context, (row, base), &transfer, &status).await,
        Err(AgentError::Refused { refusal, .. }) if !is_passing(&refusal) => {
            let problem = format!("its database cannot be brought over: {}", refusal.message);
            refuse(context, row, &problem).await
        }
        // It holds another instruction just now, or its PostgreSQL is just not there.
        Err(AgentError::Refused { .. }) => Ok(Performed::Done),
        Err(error) => Err(error.into()),
    }
}

/// Whether a donor will never give anything.
fn is_lost(donor: &Donor) -> bool {
    donor.is_going
        || match donor.state {
            ParticipantState::Removing | ParticipantState::Removed => true,
            ParticipantState::Planned
            | ParticipantState::Creating
            | ParticipantState::Serving
            | ParticipantState::Down => false,
        }
}

/// Where a donor gives, or gave: what was brought over is there also when its donor is gone. Null while
/// it does not give yet.
fn address(donor: &Donor) -> Option<Upstream> {
    let postgres = donor.postgres.as_ref()?;
    let host = postgres.host.parse().ok()?;
    let gives = donor.state == ParticipantState::Serving || is_lost(donor);
    gives.then_some(Upstream {
        server: donor.server,
        host,
        port: postgres.port,
    })
}

fn order(
    context: &Context,
    row: &ResourceRow,
    (base, transfer): (&Base, &TransferRow),
    from: Upstream,
) -> Result<TransferOrder, TurnError> {
    Ok(TransferOrder {
        restore: transfer.restore,
        participant: base.participant,
        generation: transfer.generation,
        database: transfer.database.clone(),
        role: transfer.role.clone(),
        password: context
            .vault
            .open(&contexts::password(row.id), &transfer.password)?,
        from,
    })
}

async fn note(
    context: &Context,
    (row, base): (&ResourceRow, &Base),
    transfer: &TransferRow,
    status: &TransferStatus,
) -> Result<Performed, TurnError> {
    let now = context.now();
    let patience = deadline_at(now, Resource::deadline(ResourceState::Creating)).unwrap_or(now);
    let bytes = (status.bytes_done, status.bytes_total);
    note_transfer_progress(&context.pool, row.id, bytes, patience).await?;
    match &status.phase {
        TransferPhase::Running => Ok(Performed::Done),
        TransferPhase::Finished => {
            let noted = note_transferred(&context.pool, (row.id, base.participant), now).await?;
            tracing::info!(
                resource.id = %row.id, restore.id = %status.restore, bytes = status.bytes_done,
                request_id = %row.request_id, "the database of a copy was brought over",
            );
            for server in [base.server, transfer.donor.server] {
                context.wake(Member::of_server(server)).await;
            }
            Ok(noted.into())
        }
        TransferPhase::Failed { .. } if is_lost(&transfer.donor) => {
            refuse(context, row, GONE).await
        }
        TransferPhase::Failed { detail } => {
            let problem = format!("its database could not be brought over: {detail}");
            refuse(context, row, &problem).await
        }
    }
}

async fn refuse(
    context: &Context,
    row: &ResourceRow,
    problem: &str,
) -> Result<Performed, TurnError> {
    tracing::warn!(
        resource.id = %row.id, error = problem, request_id = %row.request_id,
        "a copy cannot be made",
    );
    Ok(fail_transfer(&context.pool, row.id, problem).await?.into())
}
