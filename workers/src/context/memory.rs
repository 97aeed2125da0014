//! What a worker remembers between turns of a member: only of those in trouble, only to be quicker
//! or calmer. Another worker that takes over knows nothing of it and comes to the same end.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::ids::{ResourceId, ServerId};
use shared::queue::{Member, Ring};
use tokio::time::Instant;

/// Time after which a member that measures laps is taken to be gone.
const MARK_LOST: Duration = Duration::from_mins(10);

/// Counts of looks in a row that found nobody.
#[derive(Debug, Default)]
pub struct Memory {
    resources: Streaks<ResourceId>,
    servers: Streaks<ServerId>,
    marked: Mutex<HashMap<Ring, (Member, Instant)>>,
}

impl Memory {
    /// Counts a look at a resource; answers how many in a row found it absent.
    pub(crate) fn looked_at_resource(&self, id: ResourceId, absent: bool) -> u32 {
        self.resources.count(id, absent)
    }

    /// Time since the last turn of `member`, if it is the one whose laps are measured: the first that
    /// was seen, replaced when it has not come for long.
    pub(crate) fn lap(&self, ring: Ring, member: Member) -> Option<Duration> {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (of, last) = marked.entry(ring).or_insert((member, now));
        if *of != member {
            if last.elapsed() > MARK_LOST {
                (*of, *last) = (member, now);
            }
            return None;
        }
        let lap = now - std::mem::replace(last, now);
        (!lap.is_zero()).then_some(lap)
    }

    /// Counts a call to a server's agent; answers how many in a row timed out.
    pub(crate) fn called_agent(&self, id: ServerId, timed_out: bool) -> u32 {
        self.servers.count(id, timed_out)
    }
}

#[derive(Debug)]
struct Streaks<K>(Mutex<HashMap<K, u32>>);

impl<K> Default for Streaks<K> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash> Streaks<K> {
    fn count(&self, key: K, bad: bool) -> u32 {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bad {
            let streak = streaks.entry(key).or_insert(0);
            *streak = streak.saturating_add(1);
            *streak
        } else {
            streaks.remove(&key);
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_ends_with_a_good_look() {
        let memory = Memory::default();
        let id = ResourceId::new();
        assert_eq!(memory.looked_at_resource(id, true), 1);
        assert_eq!(memory.looked_at_resource(id, true), 2);
        assert_eq!(memory.looked_at_resource(id, false), 0);
        assert_eq!(memory.looked_at_resource(id, true), 1);
    }
}
