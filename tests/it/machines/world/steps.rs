//! The events and steps of the machines over the fakes: what each changes, in which order.

use shared::domain::{JobKind, ParticipantState, ResourceState, ServerState};
use shared::machine::{participant, resource, server};

use super::cloud::PutError;
use super::facts::{ResourceRead, ServerRead};
use super::rows::{Conflict, Life, Participant, Pid, Server, Sid};
use super::turn::{Act, Read, Stop, Work};
use super::{Member, ROOM, Route, World};

impl World {
    /// Performs the phase that an act is in; true if it has another one.
    pub(super) fn perform(&mut self, work: &Work) -> Result<bool, Stop> {
        match (work.act, &work.read) {
            (Act::ResourceEvent(_, event), Read::Resource(read)) => {
                self.record_resource(read, event)?;
                Ok(false)
            }
            (Act::ResourceStep(step), Read::Resource(read)) => {
                self.resource_step(read, step, work.phase)
            }
            (Act::ParticipantEvent(_, event), Read::Server(read)) => {
                self.record_participant(read, event)?;
                Ok(false)
            }
            (Act::ParticipantStep(step), Read::Server(read)) => {
                self.participant_step(read, step, work.phase)
            }
            (Act::ServerEvent(_, event), Read::Server(read)) => {
                self.record_server(read, event)?;
                Ok(false)
            }
            (Act::ServerStep(step), Read::Server(read)) => self.server_step(read, step, work.phase),
            (act, _) => unreachable!("{act:?} was decided from another kind of row"),
        }
    }

    fn record_resource(
        &mut self,
        read: &ResourceRead,
        event: resource::Event,
    ) -> Result<(), Conflict> {
        let (id, now) = (read.id, self.now);
        let mut why = "";
        self.rows
            .resources
            .update(id, read.resource.version, |row| {
                why = row.life.record(event, now).why;
                if event == resource::Event::DestroyRequested {
                    row.instructed = None;
                }
            })?;
        if let Some(start) = self.looks.get(&id).and_then(|look| look.answer.ok()) {
            self.known_starts.insert(id, start);
        }
        self.tell(|| format!("{id:?} {event}: {why}"));
        self.ensure_job(id, resource::job_of(self.state_of(id)));
        match self.state_of(id) {
            ResourceState::Available => self.check_available(id),
            ResourceState::Deprovisioned => self.check_gone(id),
            _ => {}
        }
        Ok(())
    }

    fn record_participant(
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

    fn record_server(&mut self, read: &ServerRead, event: server::Event) -> Result<(), Conflict> {
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

    fn resource_step(
        &mut self,
        read: &ResourceRead,
        step: resource::Step,
        phase: usize,
    ) -> Result<bool, Stop> {
        use resource::Step;

        let (id, version) = (read.id, read.resource.version);
        match (step, phase) {
            (Step::MakeSecrets, _) => {
                self.rows
                    .resources
                    .update(id, version, |row| row.secrets = true)?;
            }
            (Step::Place, _) => self.place(read)?,
            (Step::AwaitParticipant | Step::Repair | Step::AwaitRemoval, _) => {
                self.wake_server_of(read);
            }
            (Step::Probe, _) => self.feel(id),
            (Step::PointEndpoint | Step::Withdraw, 0) => {
                self.rows
                    .resources
                    .update(id, version, |row| row.endpoint_generation += 1)?;
                return Ok(true);
            }
            (Step::PointEndpoint | Step::Withdraw, 1) => {
                self.route(read, step == Step::PointEndpoint)?;
                return Ok(true);
            }
            (Step::PointEndpoint, _) => {
                let address = read.server.as_ref().and_then(|server| server.row.address);
                self.rows.resources.update(id, version + 1, |row| {
                    row.endpoint = address;
                    row.endpoint_acknowledged = row.endpoint_generation;
                })?;
            }
            (Step::Withdraw, _) => self.record_withdrawal(read)?,
            (Step::RestartInPlace, _) => self.ask_for_restart(read)?,
            (Step::Forget, _) => self.forget(read)?,
        }
        Ok(false)
    }

    fn participant_step(
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

    fn server_step(
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

    /// Takes a shared participant with room, or makes one with its server.
    fn place(&mut self, read: &ResourceRead) -> Result<(), Conflict> {
        let (id, dedicated) = (read.id, read.resource.row.dedicated);
        let shared = self.rows.participants.iter().find(|(id, row)| {
            let server = &self.rows.servers.row(row.server).life;
            !dedicated
                && !row.dedicated
                && !row.life.destroy_requested
                && !matches!(
                    row.life.state,
                    ParticipantState::Removing | ParticipantState::Removed
                )
                && !matches!(
                    server.state,
                    ServerState::Terminating | ServerState::Terminated
                )
                && self.rows.attached_to(*id).count() < ROOM
        });
        let chosen = shared.map(|(id, _)| id);
        if self
            .rows
            .resources
            .get(id)
            .is_none_or(|it| it.version != read.resource.version)
        {
            return Err(Conflict);
        }
        let chosen = chosen.unwrap_or_else(|| self.make_server(dedicated));
        self.rows
            .resources
            .update(id, read.resource.version, |row| {
                row.participant = Some(chosen);
                row.instructed = None;
            })?;
        if let Some((left, _)) = read.participant {
            self.rows.attached.entry(left).or_default().remove(&id);
        }
        self.rows.attached.entry(chosen).or_default().insert(id);
        self.looks.remove(&id);
        self.wake(Member::Server(self.rows.participants.row(chosen).server));
        Ok(())
    }

    fn make_server(&mut self, dedicated: bool) -> Pid {
        let (participant, server) = (Pid(self.rows.new_id()), Sid(self.rows.new_id()));
        let life = Life::new(self.now);
        let row = Participant {
            life,
            server,
            dedicated,
            generation: 0,
            instructed: None,
            acknowledged: 0,
            crashes: 0,
            incarnation: 0,
            restart_asked_at: None,
        };
        self.rows.participants.insert(participant, row);
        let life = Life::new(self.now);
        let row = Server {
            life,
            participant,
            dedicated,
            address: None,
            boot: None,
            last_seen: None,
        };
        self.rows.servers.insert(server, row);
        participant
    }

    /// Tells the endpoint, which refuses an older generation than it has seen.
    fn route(&mut self, read: &ResourceRead, point: bool) -> Result<(), Stop> {
        let generation = read.resource.row.endpoint_generation + 1;
        let to = read
            .server
            .as_ref()
            .and_then(|it| it.row.address)
            .filter(|_| point);
        let route = self.endpoint.entry(read.id).or_insert(Route {
            generation: 0,
            to: None,
        });
        if generation < route.generation || (point && to.is_none()) {
            return Err(Stop);
        }
        let reused = generation == route.generation && to != route.to;
        *route = Route { generation, to };
        self.demand(!reused, || {
            format!("two words to the endpoint of {:?} are one", read.id)
        });
        Ok(())
    }

    fn record_withdrawal(&mut self, read: &ResourceRead) -> Result<(), Conflict> {
        self.rows
            .resources
            .update(read.id, read.resource.version + 1, |row| {
                row.endpoint = None;
                row.endpoint_acknowledged = row.endpoint_generation;
            })?;
        if let Some((id, _)) = read
            .participant
            .as_ref()
            .filter(|_| read.resource.row.dedicated)
        {
            self.rows
                .participants
                .overrule(*id, |row| row.life.destroy_requested = true);
        }
        Ok(())
    }

    fn ask_for_restart(&mut self, read: &ResourceRead) -> Result<(), Conflict> {
        let Some((id, participant)) = &read.participant else {
            return Ok(());
        };
        let now = self.now;
        self.rows
            .participants
            .update(*id, participant.version, |row| {
                row.incarnation += 1;
                row.restart_asked_at = Some(now);
            })?;
        self.wake_server_of(read);
        Ok(())
    }

    fn forget(&mut self, read: &ResourceRead) -> Result<(), Conflict> {
        self.rows
            .resources
            .update(read.id, read.resource.version, |row| {
                row.secrets = false;
                row.participant = None;
                row.instructed = None;
            })?;
        if let Some((id, _)) = read.participant {
            self.rows.attached.entry(id).or_default().remove(&read.id);
        }
        Ok(())
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
            let mut stamp = |row: &mut super::rows::Resource| row.instructed = Some(generation);
            if waits
                && self
                    .rows
                    .resources
                    .update(*resource, *version, &mut stamp)
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

    fn wake_server_of(&mut self, read: &ResourceRead) {
        if let Some((_, participant)) = &read.participant {
            self.wake(Member::Server(participant.row.server));
        }
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
