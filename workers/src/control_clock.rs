//! The stored time of a worker: its own clock, put right by that of the control database.
//!
//! Deadlines and ages are compared with times that other workers have stored. A worker whose
//! machine's clock is wrong would call what is fine overdue, and give up what only just began. So
//! all workers go by one clock, that of the control database; their own only counts on from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use shared::clock::Clock;
use shared::db::{DbError, time};
use sqlx::PgPool;

/// Difference that is left alone: well above what an answer takes, well below what any deadline
/// or age is measured in. Without it, every comparison would move the time a little.
const TOLERANCE: TimeDelta = TimeDelta::milliseconds(250);

/// Time of an answer beyond which it says too little about the moment it was made.
const ANSWER_MAX: TimeDelta = TimeDelta::seconds(2);

/// Difference from which a person should put the machine's clock right: certificates are checked
/// by it.
const WORTH_A_WARNING: TimeDelta = TimeDelta::seconds(5);

/// A clock that shows the time of the control database.
pub struct ControlClock {
    own: Arc<dyn Clock>,
    /// What is added to our own, in microseconds.
    correction_us: AtomicI64,
}

impl ControlClock {
    /// A clock that is right already.
    ///
    /// # Errors
    /// [`DbError`] if the control database cannot be asked.
    pub async fn put_right(own: Arc<dyn Clock>, pool: &PgPool) -> Result<Self, DbError> {
        let clock = Self {
            own,
            correction_us: AtomicI64::new(0),
        };
        clock.correct(pool).await?;
        Ok(clock)
    }

    /// Compares with the control database once more.
    ///
    /// # Errors
    /// [`DbError`] if it cannot be asked; the clock then goes on as before.
    ///
    /// Answers whether the comparison says anything: it does not if the answer took too long.
    pub async fn correct(&self, pool: &PgPool) -> Result<bool, DbError> {
        let asked = self.own.now();
        let theirs = time::now(pool).await?;
        let answered = self.own.now();
        Ok(self.compare(asked, theirs, answered))
    }

    fn compare(
        &self,
        asked: DateTime<Utc>,
        theirs: DateTime<Utc>,
        answered: DateTime<Utc>,
    ) -> bool {
        let took = answered - asked;
        if took < TimeDelta::zero() || took > ANSWER_MAX {
            return false;
        }
        let difference = theirs - (asked + took / 2);
        let correction = TimeDelta::microseconds(self.correction_us.load(Ordering::Relaxed));
        if (difference - correction).abs() <= TOLERANCE {
            return true;
        }
        if difference.abs() >= WORTH_A_WARNING {
            tracing::warn!(
                difference_ms = difference.num_milliseconds(),
                "the clock of this machine differs from the control database's, which counts"
            );
        }
        let difference_us = difference.num_microseconds().unwrap_or(0);
        self.correction_us.store(difference_us, Ordering::Relaxed);
        true
    }
}

impl Clock for ControlClock {
    fn now(&self) -> DateTime<Utc> {
        self.own.now() + TimeDelta::microseconds(self.correction_us.load(Ordering::Relaxed))
    }

    fn confirm<'a>(&'a self, pool: &'a PgPool) -> BoxFuture<'a, Result<bool, DbError>> {
        Box::pin(self.correct(pool))
    }
}

#[cfg(test)]
mod tests {
    use shared::clock::ManualClock;

    use super::*;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn clock() -> (ManualClock, ControlClock) {
        let own = ManualClock::starting_at(at(0));
        let clock = ControlClock {
            own: Arc::new(own.clone()),
            correction_us: AtomicI64::new(0),
        };
        (own, clock)
    }

    #[test]
    fn a_wrong_clock_shows_the_right_time_and_goes_on() {
        let (own, clock) = clock();
        clock.compare(at(0), at(-300_000), at(2));
        assert_eq!(clock.now(), at(-300_001));
        own.advance(TimeDelta::milliseconds(500));
        assert_eq!(clock.now(), at(-299_501));
    }

    #[test]
    fn a_small_difference_moves_nothing() {
        let (_, clock) = clock();
        clock.compare(at(0), at(200), at(2));
        assert_eq!(clock.now(), at(0));
        clock.compare(at(0), at(-200), at(2));
        assert_eq!(clock.now(), at(0));
    }

    #[test]
    fn an_answer_that_took_long_says_nothing() {
        let (_, clock) = clock();
        assert!(!clock.compare(at(0), at(300_000), at(3_000)));
        assert!(!clock.compare(at(10), at(300_000), at(0)));
        assert_eq!(clock.now(), at(0));
    }

    #[test]
    fn a_clock_that_was_put_right_needs_no_correction_any_more() {
        let (own, clock) = clock();
        clock.compare(at(0), at(300_000), at(0));
        own.advance(TimeDelta::minutes(5));
        clock.compare(at(300_000), at(300_000), at(300_000));
        assert_eq!(clock.now(), at(300_000));
    }
}
