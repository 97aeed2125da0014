//! What a worker remembers between turns of a member: only of those in trouble, only to be quicker
//! or calmer. Another worker that takes over knows nothing of it and comes to the same end.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use shared::ids::{ResourceId, ServerId};

/// Counts of looks in a row that found nobody.
#[derive(Debug, Default)]
pub struct Memory {
    resources: Streaks<ResourceId>,
    servers: Streaks<ServerId>,
}

impl Memory {
    /// Counts a look at a resource; answers how many in a row found it absent.
    pub(crate) fn looked_at_resource(&self, id: ResourceId, absent: bool) -> u32 {
        self.resources.count(id, absent)
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
