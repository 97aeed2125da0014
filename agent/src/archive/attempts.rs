//! Trying again, with growing pauses, until it works, is refused, or the time is up.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Failure;

/// First pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Shortest time of one attempt: enough for a large object on a slow line.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(2);

/// Longest time of one attempt: one that took this long hangs.
const LONGEST_ATTEMPT: Duration = Duration::from_mins(1);

/// Pauses between attempts, each twice as long as the one before up to the longest.
#[derive(Debug, Default)]
pub(crate) struct Pauses(u32);

impl Pauses {
    /// Pauses before the next attempt.
    pub(crate) async fn rest(&mut self) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.0.min(10));
        self.0 += 1;
        sleep(pause.min(LONGEST_PAUSE)).await;
    }
}

/// The attempts at one thing, and what went wrong last.
#[derive(Debug)]
pub(crate) struct Attempts {
    deadline: Instant,
    pauses: Pauses,
    trouble: Option<String>,
}

impl Attempts {
    /// Until `deadline`.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            pauses: Pauses::default(),
            trouble: None,
        }
    }

    /// How long the next attempt may take: half of the time that is left, so that one that hangs
    /// leaves some for another.
    pub(crate) fn patience(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        (left / 2).clamp(SHORTEST_ATTEMPT, LONGEST_ATTEMPT)
    }

    /// Notes a failure, and pauses before the next attempt.
    ///
    /// # Errors
    /// What is wrong, if another attempt cannot help.
    pub(crate) async fn failed(&mut self, failure: Failure) -> Result<(), String> {
        let detail = match failure {
            Failure::Final(detail) => return Err(detail),
            Failure::Again(detail) => detail,
        };
        tracing::debug!(error = detail, "a request to the archive is made again");
        self.trouble = Some(detail);
        self.pauses.rest().await;
        Ok(())
    }

    /// What went wrong last; none if nothing did.
    pub(crate) fn into_trouble(self) -> Option<String> {
        self.trouble
    }
}
