//! The clock of a machine whose clock is wrong.

use chrono::{DateTime, TimeDelta, Utc};
use shared::clock::{Clock, SystemClock};

/// Variable with the seconds that the clock of a process under test is fast, or slow if negative.
pub const VARIABLE: &str = "RINGMASTER_TEST_CLOCK_FAST_BY_S";

/// A clock that is wrong by always the same.
#[derive(Debug, Clone, Copy)]
pub struct OffsetClock {
    /// How much it is fast; negative if it is slow.
    pub fast_by: TimeDelta,
}

impl OffsetClock {
    /// The clock that [`VARIABLE`] asks for; a right one without it.
    #[expect(
        clippy::disallowed_methods,
        reason = "options of a worker must not have one for tests"
    )]
    pub fn from_environment() -> Self {
        let seconds = std::env::var(VARIABLE).ok().map_or(0, |text| {
            text.parse().expect("the variable has a number of seconds")
        });
        Self {
            fast_by: TimeDelta::seconds(seconds),
        }
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.fast_by
    }
}
