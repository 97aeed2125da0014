//! Events and steps of servers and of the participants on them.

use shared::domain::JobKind;
use shared::machine::{participant, resource, server};

use crate::machines::world::cloud::PutError;
use crate::machines::world::facts::ServerRead;
use crate::machines::world::rows::{Conflict, Pid, Resource};
use crate::machines::world::turn::Stop;
use crate::machines::world::{Member, World};

impl World {
    pub(super) fn record_participant(
        &mut self,
        read: &ServerRead,
        event: participant::Event,
    ) -> Result<(), Conflict> {
        let (id, now) = (read.participant_id, self.now);
        let crashes = read.status.as_ref().map(|status| status.crashes);
        self.rows
            .participants
            .update(id, read.participant.version, |row| {
                row.life.record(event, now);
                if event == participant::Event::CrashSeen {
                    row.crashes = crashes.unwrap_or(row.crashes);
                }
            })?;
        self.tell(|| format!("{id:?} {event}"));
        self.wake_attached(id);
        Ok(())
    }

    pub(super) fn record_server(
        &mut self,
        read: &ServerRead,
        event: server::Event,
    ) -> Result<(), Conflict> {
        let (id, now) = (read.id, self.now);
        let boot = read.status.as_ref().map(|status| status.boot);
        self.rows.servers.update(id, read.server.version, |row| {
            row.life.record(event, now);
            match event {
                server::Event::AgentAnswered => {
                    row.boot = row.boot.or(boot);
                    row.last_seen = Some(now);
                }
                server::Event::RebootSeen => row.boot = boot,
                server::Event::LaunchAsked
                | server::Event::AgentLost
                | server::Event::DestroyRequested
                | server::Event::InstanceGone => {}
            }
        })?;
        self.tell(|| format!("{id:?} {event}"));
        Ok(())
    }

    pub(super) fn participant_step(
        &mut self,
        read: &ServerRead,
        step: participant::Step,
        phase: usize,
    ) -> Result<bool, Stop> {
        use participant::Step;

        let (id, version) = (read.participant_id, read.participant.version);
        match (step, phase) {
            (Step::Instruct, 0) => {
                self.allocate(read)?;
                return Ok(true);
            }
            (Step::Instruct, _) => self.send(read)?,
            (Step::Acknowledge, _) => {
                let converged = read.status.as_ref().map_or(0, |status| status.converged);
                self.rows.participants.update(id, version, |row| {
                    row.acknowledged = row.acknowledged.max(converged);
                })?;
                self.wake_attached(id);
            }
            (Step::GiveReads, _) => {}
            (Step::MarkServerForDestruction, _) => {
                self.rows
                    .servers
                    .update(read.id, read.server.version, |row| {
                        row.life.destroy_requested = true;
                    })?;
            }
        }
        Ok(false)
    }

    pub(super) fn server_step(
        &mut self,
        read: &ServerRead,
        step: server::Step,
        phase: usize,
    ) -> Result<bool, Stop> {
        use server::Step;

        let (id, version, now) = (read.id, read.server.version, self.now);
        match (step, phase) {
            (Step::EnsureInstance, 0) => {
                self.cloud.ensure(id, now).ok_or(Stop)?;
                return Ok(true);
            }
            (Step::EnsureInstance, _) => {
                let address = self.cloud.ensure(id, now).ok_or(Stop)?;
                if read.server.row.address != Some(address) {
                    self.rows
                        .servers
                        .update(id, version, |row| row.address = Some(address))?;
                    self.wake_attached(read.participant_id);
                }
            }
            (Step::RenewCertificate, _) => {
                let address = read.server.row.address.ok_or(Stop)?;
                self.cloud.renew(address, now);
            }
            (Step::RecordContact, _) => {
                let boot = read.status.as_ref().map(|status| status.boot);
                self.rows.servers.update(id, version, |row| {
                    row.last_seen = Some(now);
                    row.boot = row.boot.or(boot);
                })?;
            }
            (Step::DestroyInstance, _) => {
                for happening in self.cloud.destroy(id, now) {
                    self.judge(happening);
                }
            }
        }
        Ok(false)
    }

    /// The first half of `Instruct`: a generation for a spec that has none.
    fn allocate(&mut self, read: &ServerRead) -> Result<(), Conflict> {
        let id = read.participant_id;
        let is_new = read.participant.row.instructed.as_ref() != Some(&read.spec);
        let generation = read.participant.row.generation + u64::from(is_new);
        self.rows
            .participants
            .update(id, read.participant.version, |row| {
                row.generation = generation;
                row.instructed = Some(read.spec.clone());
            })?;
        for (resource, version) in &read.rendered {
            let waits = self.rows.resources.row(*resource).instructed.is_none();
            let stamp = |row: &mut Resource| row.instructed = Some(generation);
            if waits
                && self
                    .rows
                    .resources
                    .update(*resource, *version, stamp)
                    .is_err()
            {
                self.tell(|| format!("{resource:?} changed while it was rendered"));
            }
        }
        Ok(())
    }

    /// The second half: the agent refuses what is older than what it has seen.
    fn send(&mut self, read: &ServerRead) -> Result<(), Stop> {
        let is_new = read.participant.row.instructed.as_ref() != Some(&read.spec);
        let generation = read.participant.row.generation + u64::from(is_new);
        let address = read.server.row.address.ok_or(Stop)?;
        self.pass_time_on(address.0);
        let answer = self.cloud.put(address, generation, &read.spec, self.now);
        self.demand(answer != Err(PutError::GenerationReused), || {
            format!("{:?} was given to two specs: {:?}", generation, read.spec)
        });
        answer.map_err(|_| Stop)
    }

    fn wake_attached(&mut self, id: Pid) {
        let attached: Vec<_> = self.rows.attached_to(id).collect();
        for resource in attached {
            self.wake(Member::Resource(resource));
            let job = resource::job_of(self.state_of(resource));
            if let Some(kind) = job.filter(|kind| *kind != JobKind::Recover) {
                self.wake(Member::Job(kind, resource));
            }
        }
    }
}
