//! A provider, its machines, and the agents and PostgreSQL servers on them. Time passes on a
//! machine when somebody looks at it.

mod instance;

use std::collections::BTreeSet;
use std::time::Duration;

use shared::agent_api::Phase;
use shared::domain::Outage;
use shared::fakes::Machines;
use shared::machine::server::ProviderView;

use super::rows::{Pid, Rid, Sid};
pub(crate) use instance::Instance;

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) participant: Pid,
    pub(crate) removed: bool,
    pub(crate) databases: BTreeSet<Rid>,
    pub(crate) absent: BTreeSet<Rid>,
    pub(crate) incarnation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) Sid, pub(crate) u64);

/// Something that a law is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happening {
    DataGone { participant: Pid, database: Rid },
}

/// An agent that cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreached {
    Refused,
    TimedOut,
}

/// A call that an agent refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutError {
    Unreached,
    OldGeneration,
    GenerationReused,
    OtherParticipant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    Pending(Duration),
    Running,
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Postgres {
    Dead,
    Starting(Duration),
    Running(Duration),
}

/// What an agent answers.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) boot: u64,
    pub(crate) participant: Option<Pid>,
    pub(crate) generation: u64,
    pub(crate) converged: u64,
    pub(crate) phase: Phase,
    pub(crate) postgres_runs: bool,
    pub(crate) crashes: u64,
    pub(crate) certificate_until: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Cloud {
    instances: Machines<Sid, Instance>,
    pub(crate) silent_until: Duration,
    pub(crate) boot_takes: Duration,
    pub(crate) work_takes: Duration,
}

/// How long a certificate is good in this world.
const CERTIFICATE: Duration = Duration::from_mins(20);

impl Cloud {
    pub(crate) fn list(&self) -> impl Iterator<Item = Sid> {
        self.instances.list()
    }

    pub(crate) fn instance(&mut self, id: Sid) -> Option<&mut Instance> {
        self.instances.get_mut(id)
    }

    pub(crate) fn describe(&self, id: Sid, now: Duration) -> ProviderView {
        if now < self.silent_until {
            return ProviderView::Unknown;
        }
        match self.instances.get(id).map(|instance| instance.power) {
            None => ProviderView::Absent,
            Some(Power::Pending(_)) => ProviderView::Pending,
            Some(Power::Running) => ProviderView::Running,
            Some(Power::Stopped) => ProviderView::Stopped,
        }
    }

    /// Makes or starts instance and agent, whichever does not run. Nothing if the provider is
    /// silent.
    pub(crate) fn ensure(&mut self, id: Sid, now: Duration) -> Option<Address> {
        if now < self.silent_until {
            return None;
        }
        let ready_at = now + self.boot_takes;
        let work_takes = self.work_takes;
        let make = || Instance::new(id, ready_at, work_takes, now + CERTIFICATE);
        let instance = self.instances.ensure(id, make, |known| match known.power {
            Power::Stopped => {
                known.boot(ready_at);
                known.address.1 = known.boot;
            }
            Power::Running if !known.agent_runs => known.start_agent(now),
            Power::Running | Power::Pending(_) => {}
        });
        Some(instance.address)
    }

    /// Destroys the instance with its data. Nothing if the provider is silent.
    pub(crate) fn destroy(&mut self, id: Sid, now: Duration) -> Vec<Happening> {
        if now < self.silent_until {
            return Vec::new();
        }
        self.instances
            .destroy(id)
            .map_or_else(Vec::new, |mut instance| instance.erase())
    }

    /// The machine burns down.
    pub(crate) fn lose(&mut self, id: Sid) {
        self.instances.destroy(id);
    }

    pub(crate) fn pass_time(&mut self, id: Sid, now: Duration) -> Vec<Happening> {
        self.instances
            .get_mut(id)
            .map_or_else(Vec::new, |instance| instance.pass_time(now))
    }

    /// What the agent at an address answers.
    pub(crate) fn ask(&self, at: Address, now: Duration) -> Result<Status, Unreached> {
        self.reach(at, now).map(Instance::status)
    }

    pub(crate) fn put(
        &mut self,
        at: Address,
        generation: u64,
        spec: &Spec,
        now: Duration,
    ) -> Result<(), PutError> {
        self.reach(at, now).map_err(|_| PutError::Unreached)?;
        let instance = self.instances.get_mut(at.0).ok_or(PutError::Unreached)?;
        instance.put(generation, spec, now)
    }

    pub(crate) fn renew(&mut self, at: Address, now: Duration) {
        if self.reach(at, now).is_ok()
            && let Some(instance) = self.instances.get_mut(at.0)
        {
            instance.certificate_until = now + CERTIFICATE;
        }
    }

    /// What a connection to one database sees: the moment PostgreSQL started.
    pub(crate) fn feel(&self, at: Address, of: Rid, now: Duration) -> Result<Duration, Outage> {
        let instance = match self.network(at, now) {
            Ok(instance) => instance,
            Err(Unreached::Refused) => return Err(Outage::Refused),
            Err(Unreached::TimedOut) => return Err(Outage::TimedOut),
        };
        match instance.postgres {
            Postgres::Running(_) if instance.wedged => Err(Outage::TimedOut),
            Postgres::Running(since) if instance.databases().any(|it| it == of) => Ok(since),
            Postgres::Running(_) => Err(Outage::Broken),
            Postgres::Starting(_) | Postgres::Dead => Err(Outage::Refused),
        }
    }

    /// Whether a database exists anywhere.
    pub(crate) fn holds(&self, database: Rid) -> bool {
        self.instances.all().any(|instance| {
            instance
                .data
                .as_ref()
                .is_some_and(|data| data.databases.contains(&database))
        })
    }

    /// Databases that exist.
    pub(crate) fn databases(&self) -> BTreeSet<Rid> {
        self.instances.all().flat_map(Instance::databases).collect()
    }

    /// Participants whose PostgreSQL runs, as often as they do.
    pub(crate) fn leaders(&self) -> Vec<Pid> {
        let running = |it: &&Instance| matches!(it.postgres, Postgres::Running(_));
        let all = self.instances.all().filter(running);
        all.filter_map(|instance| instance.data.as_ref().map(|data| data.participant))
            .collect()
    }

    fn reach(&self, at: Address, now: Duration) -> Result<&Instance, Unreached> {
        self.network(at, now).and_then(|it| {
            if it.agent_runs {
                Ok(it)
            } else {
                Err(Unreached::Refused)
            }
        })
    }

    fn network(&self, at: Address, now: Duration) -> Result<&Instance, Unreached> {
        let found = self
            .instances
            .get(at.0)
            .filter(|instance| instance.address == at);
        let instance = found.ok_or(Unreached::Refused)?;
        match instance.power {
            _ if now < instance.cut_off_until => Err(Unreached::TimedOut),
            Power::Pending(_) => Err(Unreached::TimedOut),
            Power::Stopped => Err(Unreached::Refused),
            Power::Running => Ok(instance),
        }
    }
}
