//! Failures in a row, per member, as this worker saw them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use shared::queue::Member;

/// Members whose streaks are remembered; beyond it all are forgotten, and their back-off starts
/// anew.
const LIMIT: usize = 100_000;

/// Only members that failed last are in here.
#[derive(Default)]
pub(super) struct Streaks {
    failures: Mutex<HashMap<Member, u32>>,
    len: AtomicUsize,
}

impl Streaks {
    /// Notes a failure; returns how many in a row that makes.
    pub(super) fn lengthen(&self, member: Member) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= LIMIT {
            failures.clear();
        }
        let streak = failures.entry(member).or_default();
        *streak = streak.saturating_add(1);
        let streak = *streak;
        self.len.store(failures.len(), Ordering::Relaxed);
        streak
    }

    /// Notes a success.
    pub(super) fn end(&self, member: Member) {
        if self.len.load(Ordering::Relaxed) > 0 {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.remove(&member);
            self.len.store(failures.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::queue::MemberKind;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_success_ends_the_streak() {
        let streaks = Streaks::default();
        let member = Member {
            kind: MemberKind::Server,
            id: Uuid::nil(),
        };
        assert_eq!((streaks.lengthen(member), streaks.lengthen(member)), (1, 2));
        streaks.end(member);
        assert_eq!(streaks.lengthen(member), 1);
    }
}
