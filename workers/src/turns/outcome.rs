//! When a member is turned again.

use std::time::Duration;

use shared::machine::{Decision, cadence};
use shared::queue::Outcome;

use crate::ring::{Backoff, Failure, Turn};

/// Back-off of turns that failed. The first is short: a database that restarts is back in a second.
const AFTER_FAILURE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(1));

/// Pause after a write that was overtaken: whoever wrote first is probably still at it.
const AFTER_OVERTAKEN: Duration = Duration::from_millis(20);

/// Time between two looks by a worker that has no archive.
const WITHOUT_ARCHIVE: Duration = Duration::from_mins(1);

/// What a resting decision asks for, with jitter.
pub(super) fn of<E, T>(turn: &Turn, decision: &Decision<E, T>) -> Outcome {
    if decision.done {
        Outcome::Done
    } else {
        again(turn, decision.come_back)
    }
}

/// Again after `delay`, with jitter.
pub(super) fn again(turn: &Turn, delay: Duration) -> Outcome {
    Outcome::Again(cadence::jittered(delay, turn.salt()))
}

/// Again before `delay` has passed, with jitter: where somebody was promised that it takes no longer.
pub(super) fn again_within(turn: &Turn, delay: Duration) -> Outcome {
    again(turn, delay.saturating_sub(delay / 11))
}

/// Somebody else was quicker: look again soon.
pub(super) fn overtaken() -> Outcome {
    Outcome::Again(AFTER_OVERTAKEN)
}

/// The turn failed: look again, later each time.
pub(super) fn after_failure(turn: &Turn, failure: &Failure) -> Outcome {
    Outcome::Again(AFTER_FAILURE.after(failure.streak, turn.salt()))
}

/// The turn needs the archive, which this worker has not: another one may.
pub(super) fn without_archive(turn: &Turn) -> Outcome {
    again(turn, WITHOUT_ARCHIVE)
}
