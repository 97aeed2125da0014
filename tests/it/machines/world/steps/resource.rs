//! Events and steps of resources.

use shared::domain::{ParticipantState, ResourceState, ServerState};
use shared::fakes::RefusedWord;
use shared::machine::resource::{self, Source};

use crate::machines::world::facts::ResourceRead;
use crate::machines::world::rows::{Conflict, Life, Participant, Pid, Rid, Server, Sid};
use crate::machines::world::turn::Stop;
use crate::machines::world::{Member, ROOM, World};

impl World {
    pub(super) fn record_resource(
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

    pub(super) fn resource_step(
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
            (Step::FindSource, _) => self.find_source(id),
            (Step::Place, _) => self.place(read)?,
            (Step::Transfer, _) => self.rows.resources.update(id, version, |row| {
                row.source = Source::Planned;
                row.instructed = None;
            })?,
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

    /// The first note stays, whoever writes it; the version of the row is not asked.
    fn find_source(&mut self, id: Rid) {
        self.rows.resources.overrule(id, |row| {
            let Some(fork) = row.fork.as_mut().filter(|_| row.source == Source::Wanted) else {
                return;
            };
            row.source = match (fork.noted, fork.can_be_restored) {
                (false, _) => Source::Wanted,
                (true, true) if fork.by_transfer => Source::Donated,
                (true, true) => Source::Planned,
                (true, false) => Source::Refused,
            };
            fork.noted = true;
        });
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
        if point && to.is_none() {
            return Err(Stop);
        }
        let heard = self.endpoint.hear(read.id, generation, to);
        self.demand(heard != Err(RefusedWord::GenerationReused), || {
            format!("two words to the endpoint of {:?} are one", read.id)
        });
        heard.map_err(|_| Stop)
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

    fn wake_server_of(&mut self, read: &ResourceRead) {
        if let Some((_, participant)) = &read.participant {
            self.wake(Member::Server(participant.row.server));
        }
    }
}
