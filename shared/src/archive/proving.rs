//! When a timeline is to be proven again, and when that is late: pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How long after its first WAL was archived a timeline is proven for the first time: a new database
/// is empty, and whoever made it shall not share the machine with its proof at once.
const FIRST_AFTER: TimeDelta = TimeDelta::hours(1);

/// Pause after a proof that failed. It doubles with each that fails too: a restore is expensive.
const PAUSE_MIN: TimeDelta = TimeDelta::minutes(10);

/// Longest pause.
const PAUSE_MAX: TimeDelta = TimeDelta::hours(6);

/// What is known of a timeline's proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Now.
    pub now: DateTime<Utc>,
    /// Time after which it is proven again.
    pub interval: Duration,
    /// Time beyond that after which it is late.
    pub grace: Duration,
    /// Moment from which on proofs are promised: it was protected then.
    pub since: DateTime<Utc>,
    /// Moment the last proof succeeded; null before.
    pub proven_at: Option<DateTime<Utc>>,
    /// Proofs that failed since.
    pub failures: u32,
    /// Moment the last of them failed; null without one.
    pub failed_at: Option<DateTime<Utc>>,
    /// Whether there is a backup to begin from.
    pub has_backup: bool,
}

impl Facts {
    /// Whether a proof is to be made now.
    pub fn is_due(&self) -> bool {
        let next = match self.proven_at {
            Some(proven_at) => proven_at + delta(self.interval),
            None => self.since + FIRST_AFTER.min(delta(self.interval)),
        };
        let rests_until = self.failed_at.map(|failed_at| failed_at + self.pause());
        self.has_backup && next <= self.now && rests_until.is_none_or(|until| until <= self.now)
    }

    /// Whether it was not proven for longer than its plan allows.
    pub fn is_late(&self) -> bool {
        self.age() > self.interval + self.grace
    }

    /// Time since it was last proven, or since that is promised.
    pub fn age(&self) -> Duration {
        let from = self.proven_at.unwrap_or(self.since);
        (self.now - from).to_std().unwrap_or_default()
    }

    fn pause(&self) -> TimeDelta {
        let doublings = self.failures.saturating_sub(1).min(16);
        (PAUSE_MIN * (1 << doublings)).min(PAUSE_MAX)
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// At second `now`, proven at `proven` and then failed so often, the last time at `failed`.
    fn facts(now: i64, proven: Option<i64>, (failures, failed): (u32, Option<i64>)) -> Facts {
        Facts {
            now: at(now),
            interval: Duration::from_hours(24),
            grace: Duration::from_hours(6),
            since: at(0),
            proven_at: proven.map(at),
            failures,
            failed_at: failed.map(at),
            has_backup: true,
        }
    }

    #[test]
    fn a_new_timeline_is_proven_after_an_hour_and_then_at_each_interval() {
        assert!(!facts(3599, None, (0, None)).is_due());
        assert!(facts(3600, None, (0, None)).is_due());
        assert!(!facts(DAY + 99, Some(100), (0, None)).is_due());
        assert!(facts(DAY + 100, Some(100), (0, None)).is_due());
        let mut nothing = facts(3600, None, (0, None));
        nothing.has_backup = false;
        assert!(!nothing.is_due());
    }

    #[test]
    fn one_that_failed_rests_longer_each_time_and_never_for_long() {
        let due = |seconds, failures| facts(DAY + seconds, None, (failures, Some(DAY))).is_due();
        assert!(!due(599, 1) && due(600, 1));
        assert!(!due(1199, 2) && due(1200, 2));
        assert!(!due(6 * 3600 - 1, 1000) && due(6 * 3600, 1000));
    }

    #[test]
    fn it_is_late_after_interval_and_grace_proven_or_not() {
        let late = |now, proven| facts(now, proven, (9, Some(now))).is_late();
        assert!(!late(DAY + 6 * 3600, None) && late(DAY + 6 * 3600 + 1, None));
        assert!(!late(2 * DAY, Some(DAY)) && late(3 * DAY, Some(DAY)));
    }
}
