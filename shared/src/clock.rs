//! The time that is stored: one [`Clock`], given to whoever needs it.
//!
//! Two kinds of time exist and are never mixed in one comparison: stored time comes from here;
//! timers and deadlines of one process come from tokio, which tests can pause.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use futures::future::{BoxFuture, ready};
use sqlx::PgPool;

use crate::db::DbError;

/// Where stored timestamps come from.
pub trait Clock: Send + Sync + 'static {
    /// The current moment in UTC, cut to whole microseconds (what PostgreSQL stores), so that a
    /// value read back from the control database equals the one written.
    fn now(&self) -> DateTime<Utc>;

    /// Makes certain of the time once more, before something is done that cannot be undone.
    /// Answers whether it is certain; a clock that follows no other always is.
    ///
    /// # Errors
    /// [`DbError`] if the control database cannot be asked.
    fn confirm<'a>(&'a self, _pool: &'a PgPool) -> BoxFuture<'a, Result<bool, DbError>> {
        Box::pin(ready(Ok(true)))
    }
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        let now = Utc::now();
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }
}

/// A clock that stands still until it is told to move: for tests and the simulator.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn starting_at(start: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(start)))
    }

    /// Moves the clock by `step`, which may be negative (a clock that jumps back).
    pub fn advance(&self, step: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now += step;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
