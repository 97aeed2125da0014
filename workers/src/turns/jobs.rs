//! Turns of jobs: the same decisions as on the ring, but a job performs steps, counts its failures
//! and has an end.

use shared::db::jobs::{self, JobKey};
use shared::domain::{JobKind, JobState};
use shared::ids::ResourceId;
use shared::machine::resource::Driver;
use shared::queue::Outcome;

use super::{outcome, resource};
use crate::context::Context;
use crate::ring::{Failure, Turn, TurnError};

/// Failed turns in a row after which a job is dead: with the back-off, about a quarter of an hour.
/// Null for what lives as long as its subject: nobody gives up protecting data.
fn most_attempts(kind: JobKind) -> Option<u16> {
    match kind {
        JobKind::Provision | JobKind::Deprovision | JobKind::Recover => Some(20),
        JobKind::CatchUp
        | JobKind::WalPush
        | JobKind::BaseBackup
        | JobKind::Expire
        | JobKind::Verify => None,
    }
}

/// One turn of the job `kind`. A member without a pending row ends here.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    kind: JobKind,
) -> Result<Outcome, TurnError> {
    let id = ResourceId::from_uuid(turn.member().id);
    let key = JobKey {
        kind,
        subject_id: id.as_uuid(),
    };
    let job = jobs::get(&context.pool, key).await?;
    if job.is_none_or(|job| job.state == JobState::Dead) {
        return Ok(Outcome::Done);
    }
    let outcome = resource::turn(context, turn, id, Driver::Job(kind)).await?;
    if outcome == Outcome::Done {
        jobs::finish(&context.pool, key).await?;
    }
    Ok(outcome)
}

/// Counts a failed turn; after too many the job is dead and waits for a person.
pub(super) async fn failed(
    context: &Context,
    turn: &Turn,
    kind: JobKind,
    failure: &Failure,
) -> Outcome {
    let id = turn.member().id;
    let key = JobKey {
        kind,
        subject_id: id,
    };
    let (error, now) = (failure.message.as_str(), context.now());
    match jobs::record_failure(&context.pool, key, error, most_attempts(kind), now).await {
        Ok(Some((JobState::Dead, _))) => {
            tracing::error!(
                job.kind = %kind, subject.id = %id, error = %failure.message,
                "gave a job up; retry it with `ringmaster jobs retry`",
            );
            Outcome::Done
        }
        Ok(None) => Outcome::Done,
        Ok(Some((JobState::Pending, _))) => outcome::after_failure(turn, failure),
        Err(error) => {
            let source: &dyn std::error::Error = &error;
            tracing::warn!(
                job.kind = %kind, subject.id = %id,
                error = %shared::telemetry::chain(source), "failed to count a failed turn",
            );
            outcome::after_failure(turn, failure)
        }
    }
}
