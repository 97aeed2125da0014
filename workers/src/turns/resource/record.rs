//! Recording what happened to a resource, with what the event's meaning says is stored along.

use shared::db::DbError;
use shared::db::fleet::{Along, Finish, ForkView, Move, Recorded, ResourceRow, move_resource};
use shared::domain::{JobKind, OperationKind, OperationState, Outage};
use shared::machine::Machine as _;
use shared::machine::resource::{Event, Resource};
use shared::queue::Member;

use super::{Look, facts};
use crate::context::Context;
use crate::ring::TurnError;
use crate::turns::{deadline_at, told};

/// Records `event` in one transaction, logs it, and wakes the job that follows.
pub(super) async fn event(
    context: &Context,
    row: &ResourceRow,
    event: Event,
    look: &Look,
) -> Result<Recorded, TurnError> {
    let step = step(context, row, event, look)?;
    let job = job_after(event);
    let failed = DbError::during("record a step of a resource");
    let mut transaction = context.pool.begin().await.map_err(failed)?;
    let along = Along {
        finish: finish_with(row, event),
        job,
        postgres_started_at: look.postgres_started_at(),
    };
    let recorded = move_resource(&mut transaction, row.id, &step, &along).await?;
    if recorded.is_overtaken() {
        return Ok(recorded);
    }
    transaction.commit().await.map_err(failed)?;
    tracing::info!(
        resource.id = %row.id, resource.from = %step.from, event = %event, resource.to = %step.to,
        why = step.why, detail = step.detail, request_id = %row.request_id, "resource moved",
    );
    let lasted = facts::since(step.at, row.state_since);
    told::moved(
        Resource::KIND,
        (step.from.as_str(), step.to.as_str()),
        lasted,
    );
    if event == Event::ServiceReady {
        told::provisioned(&row.plan, lasted);
        context.wake(Member::of_resource(&row.plan, row.id)).await;
    }
    if let Some(kind) = job {
        context.wake(Member::of_job(kind, row.id.as_uuid())).await;
    }
    Ok(recorded)
}

fn step(
    context: &Context,
    row: &ResourceRow,
    event: Event,
    look: &Look,
) -> Result<Move<shared::domain::ResourceState>, TurnError> {
    let table_row =
        Resource::transition(row.state, event).map_err(told::refused(Resource::KIND))?;
    let now = context.now();
    let absence = look
        .seen
        .as_ref()
        .and_then(|(seen, _)| seen.outage)
        .map(word);
    Ok(Move {
        version: row.version,
        from: row.state,
        event: event.as_str(),
        to: table_row.to,
        why: table_row.why,
        detail: detail(row, event, look),
        problem: match event {
            Event::ServiceLost | Event::RecoveryStarted => absence.map(str::to_owned),
            Event::ServiceReady
            | Event::ServiceBack
            | Event::RestartSeen
            | Event::DestroyRequested
            | Event::SourceRefused
            | Event::EverythingGone => None,
        },
        deadline_at: deadline_at(now, Resource::deadline(table_row.to)),
        request_id: row.request_id,
        at: now,
    })
}

fn detail(row: &ResourceRow, event: Event, look: &Look) -> Option<String> {
    if event == Event::SourceRefused {
        return refusal(row);
    }
    let (seen, in_a_row) = look.seen.as_ref()?;
    match event {
        Event::ServiceLost | Event::RecoveryStarted => {
            let outage = seen.outage.map(word)?;
            Some(format!("{outage}; {in_a_row} looks in a row"))
        }
        Event::RestartSeen | Event::ServiceBack => {
            let started = seen.postgres_started_at?;
            Some(format!(
                "PostgreSQL started at {}",
                started.format("%Y-%m-%d %H:%M:%S UTC")
            ))
        }
        Event::ServiceReady
        | Event::DestroyRequested
        | Event::SourceRefused
        | Event::EverythingGone => None,
    }
}

/// Why the copy that `row` should begin as cannot be made.
fn refusal(row: &ResourceRow) -> Option<String> {
    match &row.fork {
        Some(ForkView::Refused(problem)) => Some(problem.clone()),
        Some(ForkView::Wanted | ForkView::Planned(_) | ForkView::Donated(_)) | None => None,
    }
}

fn word(outage: Outage) -> &'static str {
    match outage {
        Outage::Refused => "PostgreSQL refuses connections",
        Outage::TimedOut => "PostgreSQL does not answer in time",
        Outage::Broken => "PostgreSQL answers, but not as this database should",
    }
}

fn finish_with(row: &ResourceRow, event: Event) -> Option<Finish> {
    let (kind, state, error) = match event {
        Event::ServiceReady => (OperationKind::Create, OperationState::Succeeded, None),
        Event::DestroyRequested => {
            let why = "the resource was destroyed before it was ready".to_owned();
            (OperationKind::Create, OperationState::Failed, Some(why))
        }
        Event::SourceRefused => (OperationKind::Create, OperationState::Failed, refusal(row)),
        Event::EverythingGone => (OperationKind::Destroy, OperationState::Succeeded, None),
        Event::ServiceLost | Event::ServiceBack | Event::RecoveryStarted | Event::RestartSeen => {
            return None;
        }
    };
    Some(Finish { kind, state, error })
}

fn job_after(event: Event) -> Option<JobKind> {
    match event {
        Event::RecoveryStarted => Some(JobKind::Recover),
        Event::DestroyRequested | Event::SourceRefused => Some(JobKind::Deprovision),
        Event::ServiceReady
        | Event::ServiceLost
        | Event::ServiceBack
        | Event::RestartSeen
        | Event::EverythingGone => None,
    }
}
