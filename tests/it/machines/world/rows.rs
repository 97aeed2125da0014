//! The control database: rows with versions, written by compare-and-set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::domain::{JobKind, ParticipantState, ResourceState, ServerState};
use shared::machine::participant::Participant as ParticipantMachine;
use shared::machine::resource::{Resource as ResourceMachine, Source};
use shared::machine::server::Server as ServerMachine;
use shared::machine::{Machine, Row};

use super::cloud::{Address, Spec};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rid(pub(crate) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pid(pub(crate) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sid(pub(crate) u32);

/// What every row that lives has.
#[derive(Debug, Clone)]
pub(crate) struct Life<M: Machine> {
    pub(crate) state: M::State,
    pub(crate) since: Duration,
    pub(crate) deadline: Option<Duration>,
    pub(crate) destroy_requested: bool,
}

impl<M: Machine> Life<M> {
    pub(crate) fn new(now: Duration) -> Self {
        let deadline = M::deadline(M::INITIAL).map(|deadline| now + deadline.after);
        Self {
            state: M::INITIAL,
            since: now,
            deadline,
            destroy_requested: false,
        }
    }

    /// Goes where the table says.
    pub(crate) fn record(
        &mut self,
        event: M::Event,
        now: Duration,
    ) -> &'static Row<M::State, M::Event> {
        let row = M::transition(self.state, event).expect("decide knows its table");
        if row.to != self.state {
            self.state = row.to;
            self.since = now;
            self.deadline = M::deadline(row.to).map(|deadline| now + deadline.after);
        }
        row
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) life: Life<ResourceMachine>,
    pub(crate) dedicated: bool,
    pub(crate) secrets: bool,
    pub(crate) source: Source,
    pub(crate) fork: Option<Fork>,
    pub(crate) participant: Option<Pid>,
    pub(crate) instructed: Option<u64>,
    pub(crate) endpoint: Option<Address>,
    pub(crate) endpoint_generation: u64,
    pub(crate) endpoint_acknowledged: u64,
}

/// What a copy is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fork {
    /// It was noted up to where the archive must have the original.
    pub(crate) noted: bool,
    pub(crate) can_be_restored: bool,
    /// Its database is brought over from a hidden instance.
    pub(crate) by_transfer: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Participant {
    pub(crate) life: Life<ParticipantMachine>,
    pub(crate) server: Sid,
    pub(crate) dedicated: bool,
    pub(crate) generation: u64,
    pub(crate) instructed: Option<Spec>,
    pub(crate) acknowledged: u64,
    pub(crate) crashes: u64,
    pub(crate) incarnation: u64,
    pub(crate) restart_asked_at: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) life: Life<ServerMachine>,
    pub(crate) participant: Pid,
    pub(crate) dedicated: bool,
    pub(crate) address: Option<Address>,
    pub(crate) boot: Option<u64>,
    pub(crate) last_seen: Option<Duration>,
}

/// A row as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Versioned<T> {
    pub(crate) version: u64,
    pub(crate) row: T,
}

/// A write that found another version than was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict;

#[derive(Debug)]
pub(crate) struct Table<K, T>(BTreeMap<K, Versioned<T>>);

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy, T> Table<K, T> {
    pub(crate) fn get(&self, id: K) -> Option<&Versioned<T>> {
        self.0.get(&id)
    }

    /// The row of a key that is known to exist: rows are never deleted.
    pub(crate) fn row(&self, id: K) -> &T {
        &self.0.get(&id).expect("rows are never deleted").row
    }

    pub(crate) fn insert(&mut self, id: K, row: T) {
        self.0.insert(id, Versioned { version: 1, row });
    }

    /// Changes a row if it still is of the version that was read.
    pub(crate) fn update(
        &mut self,
        id: K,
        version: u64,
        change: impl FnOnce(&mut T),
    ) -> Result<(), Conflict> {
        let stored = self
            .0
            .get_mut(&id)
            .filter(|it| it.version == version)
            .ok_or(Conflict)?;
        stored.version += 1;
        change(&mut stored.row);
        Ok(())
    }

    /// Changes a row whatever its version: the hand of the API or of an operator.
    pub(crate) fn overrule(&mut self, id: K, change: impl FnOnce(&mut T)) {
        let version = self.0.get(&id).map_or(0, |stored| stored.version);
        self.update(id, version, change)
            .expect("rows are never deleted");
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.0.iter().map(|(id, stored)| (*id, &stored.row))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) resources: Table<Rid, Resource>,
    pub(crate) participants: Table<Pid, Participant>,
    pub(crate) servers: Table<Sid, Server>,
    pub(crate) jobs: BTreeSet<(JobKind, Rid)>,
    /// Index: who is attached to a participant.
    pub(crate) attached: BTreeMap<Pid, BTreeSet<Rid>>,
    pub(crate) last_id: u32,
}

impl Rows {
    pub(crate) fn new_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn attached_to(&self, participant: Pid) -> impl Iterator<Item = Rid> {
        self.attached
            .get(&participant)
            .into_iter()
            .flatten()
            .copied()
    }

    pub(crate) fn living_resources(&self) -> impl Iterator<Item = Rid> {
        self.resources
            .iter()
            .filter(|(_, row)| row.life.state != ResourceState::Deprovisioned)
            .map(|(id, _)| id)
    }

    /// Servers that need turns: they or their participants have not ended.
    pub(crate) fn living_servers(&self) -> impl Iterator<Item = Sid> {
        self.servers
            .iter()
            .map(|(id, _)| id)
            .filter(|id| self.is_living(*id))
    }

    pub(crate) fn is_living(&self, id: Sid) -> bool {
        self.servers.get(id).is_some_and(|server| {
            server.row.life.state != ServerState::Terminated
                || self.participants.row(server.row.participant).life.state
                    != ParticipantState::Removed
        })
    }
}
