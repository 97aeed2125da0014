//! Tells an agent what its participant shall be, and records what it holds.

use shared::db::fleet::{
    DatabaseWish, Instruction, ParticipantRow, ServerRow, WaitingResource,
    acknowledge as record_acknowledgement, record_instruction, resources_waiting_on,
};
use shared::domain::{JobKind, ResourceState};
use shared::ids::ParticipantId;
use shared::queue::Member;
use shared::secret::VaultError;

use super::Performed;
use super::render::{Rendered, render};
use crate::context::{Agents, Asked, Context};
use crate::ring::TurnError;

/// The spec of the participant as the rows say now, numbered like the newest instruction.
pub(crate) fn desired(
    context: &Context,
    server: &ServerRow,
    row: &ParticipantRow,
    wishes: &[DatabaseWish],
) -> Result<Rendered, VaultError> {
    let number = (row.generation, row.request_id);
    render(server, row, wishes, &context.vault, number)
}

/// Sends the spec. One that is not yet instructed gets the next generation first, by
/// compare-and-set: nothing leaves the control plane before that is stored.
pub(crate) async fn instruct(
    context: &Context,
    server: &ServerRow,
    row: &ParticipantRow,
    desired: &Rendered,
) -> Result<Performed, TurnError> {
    let mut spec = desired.spec.clone();
    if !desired.is_instructed(row) {
        spec.generation = row.generation + 1;
        let instruction = Instruction {
            generation: spec.generation,
            digest: &desired.digest,
            wanted: &desired.wanted,
            absent: &desired.absent,
        };
        let version = (row.id, row.version);
        if record_instruction(&context.pool, version, &instruction)
            .await?
            .is_overtaken()
        {
            return Ok(Performed::Overtaken);
        }
        context.borders.within().await;
    }
    let Some(agent) = Agents::of(server) else {
        return Ok(Performed::Overtaken);
    };
    tracing::info!(
        server.id = %server.id, participant.id = %row.id, generation = spec.generation,
        request_id = %row.request_id, "instructs",
    );
    context.agents.client().instruct(agent, &spec).await?;
    Ok(Performed::Done)
}

/// Records the generation that the agent holds in full, and wakes who waited for it.
pub(crate) async fn acknowledge(
    context: &Context,
    row: &ParticipantRow,
    asked: Option<&Asked>,
) -> Result<Performed, TurnError> {
    let Some(status) = asked.and_then(Asked::status) else {
        return Ok(Performed::Overtaken);
    };
    let identifier = status
        .postgres
        .as_ref()
        .map(|postgres| postgres.system_identifier.as_str());
    let version = (row.id, row.version);
    let recorded = record_acknowledgement(
        &context.pool,
        version,
        status.converged_generation.min(row.generation),
        identifier,
    )
    .await?;
    if !recorded.is_overtaken() {
        wake_waiting(context, row.id).await?;
    }
    Ok(recorded.into())
}

/// Wakes the resources that wait for this participant, or their jobs.
pub(crate) async fn wake_waiting(
    context: &Context,
    participant: ParticipantId,
) -> Result<(), TurnError> {
    for WaitingResource { id, plan, state } in
        resources_waiting_on(&context.pool, participant).await?
    {
        let kind = match state {
            ResourceState::Creating => JobKind::Provision,
            ResourceState::Deprovisioning => JobKind::Deprovision,
            ResourceState::Recovering => JobKind::Recover,
            ResourceState::Available => {
                context.wake(Member::of_resource(&plan, id)).await;
                continue;
            }
            ResourceState::Unavailable | ResourceState::Deprovisioned => continue,
        };
        context.wake(Member::of_job(kind, id.as_uuid())).await;
    }
    Ok(())
}
