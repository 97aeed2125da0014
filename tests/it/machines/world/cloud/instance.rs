//! One machine: its agent, its PostgreSQL, its disk.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::agent_api::Phase;

use super::{Address, Happening, Postgres, Power, PutError, Spec, Status};
use crate::machines::world::rows::{Pid, Rid, Sid};

#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) participant: Pid,
    pub(super) databases: BTreeSet<Rid>,
}

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) address: Address,
    pub(crate) power: Power,
    pub(crate) boot: u64,
    pub(crate) agent_runs: bool,
    pub(crate) postgres: Postgres,
    /// PostgreSQL accepts connections and never answers; a restart cures it.
    pub(crate) wedged: bool,
    pub(crate) cut_off_until: Duration,
    /// How long a piece of work takes the agent.
    pub(crate) work_takes: Duration,
    pub(crate) certificate_until: Duration,
    pub(super) data: Option<Data>,
    instructed: Option<(u64, Spec)>,
    incarnation: u64,
    converged: u64,
    work_until: Option<Duration>,
    crashes: u64,
}

impl Instance {
    pub(super) fn new(
        id: Sid,
        ready_at: Duration,
        work_takes: Duration,
        certificate_until: Duration,
    ) -> Self {
        let boot = u64::try_from(ready_at.as_micros()).unwrap_or(u64::MAX);
        Self {
            address: Address(id, boot),
            power: Power::Pending(ready_at),
            boot,
            agent_runs: false,
            postgres: Postgres::Dead,
            wedged: false,
            cut_off_until: Duration::ZERO,
            work_takes,
            certificate_until,
            data: None,
            instructed: None,
            incarnation: 0,
            converged: 0,
            work_until: None,
            crashes: 0,
        }
    }

    pub(super) fn databases(&self) -> impl Iterator<Item = Rid> {
        self.data
            .iter()
            .flat_map(|data| data.databases.iter().copied())
    }

    /// The machine goes down and comes up again with another boot id.
    pub(crate) fn boot(&mut self, ready_at: Duration) {
        self.stop();
        self.power = Power::Pending(ready_at);
        self.boot += 1;
    }

    pub(crate) fn stop(&mut self) {
        self.power = Power::Stopped;
        self.agent_runs = false;
        self.postgres = Postgres::Dead;
        self.wedged = false;
        self.work_until = None;
    }

    pub(crate) fn start_agent(&mut self, now: Duration) {
        self.agent_runs = true;
        if self
            .instructed
            .as_ref()
            .is_some_and(|(number, _)| *number > self.converged)
        {
            self.work_until = Some(now + self.work_takes);
        }
    }

    pub(crate) fn kill_agent(&mut self, postgres_too: bool) {
        self.agent_runs = false;
        self.work_until = None;
        if postgres_too {
            self.postgres = Postgres::Dead;
            self.wedged = false;
        }
    }

    pub(crate) fn kill_postgres(&mut self) {
        if matches!(self.postgres, Postgres::Running(_)) {
            self.postgres = Postgres::Dead;
            self.wedged = false;
            self.crashes += 1;
        }
    }

    pub(super) fn put(
        &mut self,
        generation: u64,
        spec: &Spec,
        now: Duration,
    ) -> Result<(), PutError> {
        if let Some((seen, known)) = &self.instructed {
            if known.participant != spec.participant {
                return Err(PutError::OtherParticipant);
            }
            if generation < *seen {
                return Err(PutError::OldGeneration);
            }
            if generation == *seen {
                return if spec == known {
                    Ok(())
                } else {
                    Err(PutError::GenerationReused)
                };
            }
        }
        self.instructed = Some((generation, spec.clone()));
        self.work_until = Some(now + self.work_takes);
        Ok(())
    }

    pub(super) fn pass_time(&mut self, now: Duration) -> Vec<Happening> {
        let mut happened = Vec::new();
        if let Power::Pending(at) = self.power
            && at <= now
        {
            self.power = Power::Running;
            self.start_agent(at);
        }
        for _ in 0..4 {
            if let Postgres::Starting(at) = self.postgres
                && at <= now
            {
                self.postgres = Postgres::Running(at);
            }
            if self.agent_runs && self.work_until.is_some_and(|at| at <= now) {
                happened.extend(self.work());
            }
            let leads = self
                .instructed
                .as_ref()
                .is_some_and(|(_, spec)| !spec.removed);
            let due = self.agent_runs && leads && self.data.is_some();
            if due && self.postgres == Postgres::Dead {
                self.postgres = Postgres::Starting(now + self.work_takes);
            }
        }
        happened
    }

    /// Makes the newest instruction hold, as far as it goes at once.
    fn work(&mut self) -> Vec<Happening> {
        let Some((generation, spec)) = self.instructed.clone() else {
            return Vec::new();
        };
        let now = self.work_until.take().unwrap_or_default();
        if spec.removed {
            self.converged = generation;
            return self.erase();
        }
        let participant = spec.participant;
        let born = self.data.is_some();
        let data = self.data.get_or_insert_with(|| Data {
            participant,
            databases: BTreeSet::new(),
        });
        let restart = born && self.incarnation < spec.incarnation;
        self.incarnation = spec.incarnation;
        if restart || !matches!(self.postgres, Postgres::Running(_)) {
            self.wedged = false;
            let at = now + self.work_takes;
            self.postgres = Postgres::Starting(at);
            self.work_until = Some(at);
            return Vec::new();
        }
        data.databases.extend(&spec.databases);
        let gone: Vec<_> = data.databases.intersection(&spec.absent).copied().collect();
        data.databases
            .retain(|database| !spec.absent.contains(database));
        self.converged = generation;
        gone.into_iter()
            .map(|database| Happening::DataGone {
                participant,
                database,
            })
            .collect()
    }

    pub(super) fn erase(&mut self) -> Vec<Happening> {
        self.postgres = Postgres::Dead;
        let Some(data) = self.data.take() else {
            return Vec::new();
        };
        let participant = data.participant;
        let gone = data.databases.into_iter();
        gone.map(|database| Happening::DataGone {
            participant,
            database,
        })
        .collect()
    }

    pub(super) fn status(&self) -> Status {
        let (generation, participant, removed) =
            self.instructed
                .as_ref()
                .map_or((0, None, false), |(number, spec)| {
                    (
                        *number,
                        Some(spec.participant),
                        spec.removed && self.converged == *number,
                    )
                });
        let phase = match (self.postgres, &self.data) {
            (Postgres::Running(_), _) => Phase::Running,
            (Postgres::Starting(_), _) => Phase::Starting,
            (Postgres::Dead, _) if removed => Phase::Removed,
            (Postgres::Dead, _) if generation == 0 => Phase::Empty,
            (Postgres::Dead, None) => Phase::Creating,
            (Postgres::Dead, Some(_)) => Phase::Stopped,
        };
        Status {
            boot: self.boot,
            participant,
            generation,
            converged: self.converged,
            phase,
            postgres_runs: matches!(self.postgres, Postgres::Running(_)),
            crashes: self.crashes,
            certificate_until: self.certificate_until,
        }
    }
}
