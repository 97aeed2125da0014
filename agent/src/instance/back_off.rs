//! How long to wait after something failed again.

use std::time::Duration;

/// First wait.
const FIRST: Duration = Duration::from_millis(250);

/// Longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// What runs longer than this before it fails was well: the next attempt is made at once.
const WELL: Duration = Duration::from_mins(1);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    failures: u32,
}

impl BackOff {
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Notes a failure. Gives the time to wait: doubled each time.
    pub(super) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.wait()
    }

    /// Notes the end of something that was to run for ever, and ran for `lived`.
    pub(super) fn ended_after(&mut self, lived: Duration) {
        if lived >= WELL {
            self.succeeded();
        } else {
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Time to wait before the next attempt. None after the first failure in a row: most need no
    /// second attempt.
    pub(super) fn wait(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            more => FIRST.saturating_mul(1 << (more - 2).min(10)).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_limit() {
        let mut back_off = BackOff::default();
        let waits: Vec<u128> = (0..12).map(|_| back_off.failed().as_millis()).collect();
        assert_eq!(
            waits,
            [
                0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000
            ]
        );
        back_off.ended_after(WELL);
        assert_eq!(back_off.wait(), Duration::ZERO);
        back_off.ended_after(Duration::ZERO);
        back_off.ended_after(Duration::ZERO);
        assert_eq!(back_off.wait(), FIRST);
    }
}
