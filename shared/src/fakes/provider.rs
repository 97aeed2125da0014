//! A provider in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::ids::ServerId;
use crate::ports::{Machine, MachineState, Provider, ProviderError, ServerOrder};

/// Ports of the first machine of a [`FakeProvider`]; each further one has the next two.
const FIRST_PORT: u16 = 20_000;

/// Machines by the key that their names derive from, whatever a machine is.
#[derive(Debug)]
pub struct Machines<K, M>(BTreeMap<K, M>);

impl<K, M> Default for Machines<K, M> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy, M> Machines<K, M> {
    /// The machine of `key`: a new one if there is none, else the one there is, once it was
    /// `revived`.
    pub fn ensure(
        &mut self,
        key: K,
        make: impl FnOnce() -> M,
        revive: impl FnOnce(&mut M),
    ) -> &mut M {
        match self.0.entry(key) {
            Entry::Vacant(none) => none.insert(make()),
            Entry::Occupied(known) => {
                let machine = known.into_mut();
                revive(machine);
                machine
            }
        }
    }

    /// Takes the machine away with everything on it; null if there is none.
    pub fn destroy(&mut self, key: K) -> Option<M> {
        self.0.remove(&key)
    }

    /// Keys that have a machine, in order.
    pub fn list(&self) -> impl Iterator<Item = K> {
        self.0.keys().copied()
    }

    /// Every machine.
    pub fn all(&self) -> impl Iterator<Item = &M> {
        self.0.values()
    }

    /// The machine of `key`, if there is one.
    pub fn get(&self, key: K) -> Option<&M> {
        self.0.get(&key)
    }

    /// The machine of `key`, if there is one, to be changed.
    pub fn get_mut(&mut self, key: K) -> Option<&mut M> {
        self.0.get_mut(&key)
    }
}

/// A provider that holds its machines in memory. They run at once, with nothing on them.
#[derive(Debug, Default)]
pub struct FakeProvider(Mutex<Fleet>);

#[derive(Debug, Default)]
struct Fleet {
    machines: Machines<ServerId, Machine>,
    made: u16,
}

impl FakeProvider {
    /// The machine of a server goes down, and stays there until it is ensured again.
    pub fn stop(&self, server: ServerId) {
        if let Some(machine) = self.fleet().machines.get_mut(server) {
            machine.state = MachineState::Stopped;
        }
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    fn ensure(&mut self, server: ServerId) -> Machine {
        let agent_port = FIRST_PORT + 2 * self.made;
        self.made += 1;
        let make = || Machine {
            state: MachineState::Running,
            instance_id: Some(format!("fake/{server}")),
            host: Some("127.0.0.1".to_owned()),
            agent_port: Some(agent_port),
            postgres_port: Some(agent_port + 1),
        };
        let revive = |machine: &mut Machine| machine.state = MachineState::Running;
        self.machines.ensure(server, make, revive).clone()
    }
}

impl Provider for FakeProvider {
    fn ensure<'a>(
        &'a self,
        order: &'a ServerOrder,
    ) -> BoxFuture<'a, Result<Machine, ProviderError>> {
        async move { Ok(self.fleet().ensure(order.server)) }.boxed()
    }

    fn describe(&self, server: ServerId) -> BoxFuture<'_, Result<Machine, ProviderError>> {
        async move {
            let known = self.fleet().machines.get(server).cloned();
            Ok(known.unwrap_or(Machine::absent()))
        }
        .boxed()
    }

    fn destroy(&self, server: ServerId) -> BoxFuture<'_, Result<Machine, ProviderError>> {
        async move {
            self.fleet().machines.destroy(server);
            Ok(Machine::absent())
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ServerId>, ProviderError>> {
        async move { Ok(self.fleet().machines.list().collect()) }.boxed()
    }
}
