//! Observations that wait to be written, and the choice of those that go into the history.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use shared::domain::Observation;
use shared::ids::ResourceId;

use super::RecordConfig;

/// After how many times the usual pause a resource without a sample is forgotten.
const FORGET_AFTER_PAUSES: i32 = 10;

/// What an observation waits for. The two do not wait for each other: a history that cannot be
/// written must not hold up what is newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// To become the newest of its resource.
    Newest,
    /// To become part of the history.
    History,
}

impl Lane {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Newest, Self::History];
}

/// Observations that are written together.
pub(super) type Batch = Vec<(ResourceId, Observation)>;

/// Observations that wait. Bounded: of each resource the newest, and a limited history.
pub(super) struct Waiting {
    config: RecordConfig,
    newest: HashMap<ResourceId, Observation>,
    history: VecDeque<(ResourceId, Observation)>,
    sampled: HashMap<ResourceId, Sampled>,
    dropped: u64,
}

/// The last sample of a resource in the history.
struct Sampled {
    at: DateTime<Utc>,
    available: bool,
}

impl Waiting {
    /// Nothing waits.
    pub(super) fn new(config: RecordConfig) -> Self {
        Self {
            config,
            newest: HashMap::new(),
            history: VecDeque::new(),
            sampled: HashMap::new(),
            dropped: 0,
        }
    }

    /// Adds an observation.
    pub(super) fn add(&mut self, resource: ResourceId, observation: &Observation) {
        if self.is_sample(resource, observation) {
            let sampled = Sampled {
                at: observation.observed_at,
                available: observation.available,
            };
            self.sampled.insert(resource, sampled);
            self.history.push_back((resource, observation.clone()));
            self.trim_history();
        }
        self.put_newest(resource, observation.clone());
    }

    /// Takes out what is to be written next: the oldest of the history, any of the newest.
    pub(super) fn take(&mut self, lane: Lane) -> Batch {
        let count = self.len(lane).min(self.config.batch_max());
        match lane {
            Lane::Newest => {
                let resources: Vec<_> = self.newest.keys().copied().take(count).collect();
                let entry = |resource| self.newest.remove_entry(&resource);
                resources.into_iter().filter_map(entry).collect()
            }
            Lane::History => self.history.drain(..count).collect(),
        }
    }

    /// Takes back what could not be written, except what is out of date by now.
    pub(super) fn give_back(&mut self, lane: Lane, batch: Batch) {
        for (resource, observation) in batch.into_iter().rev() {
            match lane {
                Lane::Newest => self.put_newest(resource, observation),
                Lane::History => self.history.push_front((resource, observation)),
            }
        }
        self.trim_history();
    }

    /// Number of observations that wait.
    pub(super) fn len(&self, lane: Lane) -> usize {
        match lane {
            Lane::Newest => self.newest.len(),
            Lane::History => self.history.len(),
        }
    }

    /// Whether there is enough for a whole batch.
    pub(super) fn is_full(&self, lane: Lane) -> bool {
        self.len(lane) >= self.config.batch_max()
    }

    /// Samples dropped since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Forgets when resources were sampled that are not observed any more.
    pub(super) fn forget_gone(&mut self) {
        let Some(newest) = self.sampled.values().map(|sampled| sampled.at).max() else {
            return;
        };
        let oldest = newest - self.config.history_every() * FORGET_AFTER_PAUSES;
        self.sampled.retain(|_, sampled| sampled.at >= oldest);
    }

    /// The first one, each change of availability, and one in a while. A clock that was set back
    /// does not stop the history.
    fn is_sample(&self, resource: ResourceId, observation: &Observation) -> bool {
        self.sampled.get(&resource).is_none_or(|last| {
            let age = observation.observed_at - last.at;
            last.available != observation.available
                || age >= self.config.history_every()
                || age < chrono::Duration::zero()
        })
    }

    fn put_newest(&mut self, resource: ResourceId, observation: Observation) {
        let known = self.newest.get(&resource);
        if known.is_none_or(|known| known.observed_at <= observation.observed_at) {
            self.newest.insert(resource, observation);
        }
    }

    fn trim_history(&mut self) {
        while self.history.len() > self.config.waiting_max() {
            self.history.pop_front();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests;
