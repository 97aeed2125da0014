//! Looking: from rows and the world to the facts of each machine.

use std::time::Duration;

use shared::agent_api::Phase;
use shared::domain::{ParticipantState, ResourceState};
use shared::machine::participant::{self, AgentReport, Holds};
use shared::machine::resource::{
    self, Attached, DiskView, Driver, EndpointView, Instruction, Seen,
};
use shared::machine::server;

use super::cloud::{Spec, Status, Unreached};
use super::rows::{Participant, Pid, Resource, Rid, Server, Sid, Versioned};
use super::{Look, World};

/// Age at which a look is too old to decide from.
const LOOK_IS_OLD: Duration = Duration::from_secs(15);

/// How long before the end of a certificate its renewal is due.
const RENEWAL: Duration = Duration::from_mins(7);

/// What one turn read of a server, its participant, and its agent, all at one moment.
#[derive(Debug, Clone)]
pub(crate) struct ServerRead {
    pub(crate) id: Sid,
    pub(crate) server: Versioned<Server>,
    pub(crate) participant_id: Pid,
    pub(crate) participant: Versioned<Participant>,
    pub(crate) status: Option<Status>,
    /// What the participant shall be, and the version of each resource that is in it.
    pub(crate) spec: Spec,
    pub(crate) rendered: Vec<(Rid, u64)>,
}

/// What one turn read of a resource.
#[derive(Debug, Clone)]
pub(crate) struct ResourceRead {
    pub(crate) id: Rid,
    pub(crate) resource: Versioned<Resource>,
    pub(crate) participant: Option<(Pid, Versioned<Participant>)>,
    pub(crate) server: Option<Versioned<Server>>,
}

impl World {
    pub(super) fn read_server(&mut self, id: Sid) -> ServerRead {
        self.pass_time_on(id);
        let server = self
            .rows
            .servers
            .get(id)
            .expect("a member has a row")
            .clone();
        let participant_id = server.row.participant;
        let participant = self
            .rows
            .participants
            .get(participant_id)
            .expect("made together")
            .clone();
        let asks = server::asks_agent(server.row.life.state);
        let address = server.row.address.filter(|_| asks);
        let answer = address.map(|address| self.cloud.ask(address, self.now));
        let silences = self.silences.entry(id).or_default();
        *silences = if matches!(answer, Some(Err(_))) {
            *silences + 1
        } else {
            0
        };
        let (spec, rendered) = self.render(participant_id, &participant.row);
        let status = answer.and_then(Result::ok);
        ServerRead {
            id,
            server,
            participant_id,
            participant,
            status,
            spec,
            rendered,
        }
    }

    /// What a participant shall be, from the rows alone.
    fn render(&self, id: Pid, row: &Participant) -> (Spec, Vec<(Rid, u64)>) {
        let removed = row.life.state == ParticipantState::Removing;
        let mut spec = Spec {
            participant: id,
            removed,
            databases: std::collections::BTreeSet::new(),
            absent: std::collections::BTreeSet::new(),
            incarnation: row.incarnation,
        };
        let mut rendered = Vec::new();
        for attached in self.rows.attached_to(id) {
            let resource = self
                .rows
                .resources
                .get(attached)
                .expect("attached ones exist");
            rendered.push((attached, resource.version));
            match resource.row.life.state {
                _ if removed => {}
                ResourceState::Deprovisioning => drop(spec.absent.insert(attached)),
                _ => drop(spec.databases.insert(attached)),
            }
        }
        (spec, rendered)
    }

    pub(super) fn server_facts(&self, read: &ServerRead) -> (server::Facts, participant::Facts) {
        let server = &read.server.row;
        let cadence = Self::cadence(server.dedicated);
        let agent = self.agent_view(read);
        let asks = server::asks_provider(server.life.state, agent);
        let server_facts = server::Facts {
            state: server.life.state,
            time_in_state: self.now.saturating_sub(server.life.since),
            deadline_passed: server.life.deadline.is_some_and(|at| at <= self.now),
            destroy_requested: server.life.destroy_requested,
            cadence,
            address_known: server.address.is_some(),
            silent_for: server.last_seen.map(|at| self.now.saturating_sub(at)),
            provider: if asks {
                self.cloud.describe(read.id, self.now)
            } else {
                server::ProviderView::NotAsked
            },
            agent,
            participant: Some(read.participant.row.life.state),
        };
        (server_facts, self.participant_facts(read, cadence))
    }

    fn agent_view(&self, read: &ServerRead) -> server::AgentView {
        let server = &read.server.row;
        let Some(address) = server
            .address
            .filter(|_| server::asks_agent(server.life.state))
        else {
            return server::AgentView::NotAsked;
        };
        if let Some(status) = &read.status {
            return server::AgentView::Answers {
                rebooted: server.boot.is_some_and(|boot| boot != status.boot),
                certificate_due: status.certificate_until <= self.now + RENEWAL,
            };
        }
        match self.cloud.ask(address, self.now) {
            Err(Unreached::Refused) => server::AgentView::Refused,
            Err(Unreached::TimedOut) | Ok(_) => server::AgentView::TimedOut {
                in_a_row: self
                    .silences
                    .get(&read.id)
                    .copied()
                    .unwrap_or_default()
                    .max(1),
            },
        }
    }

    fn participant_facts(&self, read: &ServerRead, cadence: Duration) -> participant::Facts {
        let row = &read.participant.row;
        let waits = |(id, _): &(Rid, u64)| self.rows.resources.row(*id).instructed.is_none();
        participant::Facts {
            state: row.life.state,
            time_in_state: self.now.saturating_sub(row.life.since),
            deadline_passed: row.life.deadline.is_some_and(|at| at <= self.now),
            destroy_requested: row.life.destroy_requested,
            cadence,
            server: read.server.row.life.state,
            server_destroy_requested: read.server.row.life.destroy_requested,
            generation: row.generation,
            acknowledged_generation: row.acknowledged,
            instruction_is_current: row.instructed.as_ref() == Some(&read.spec)
                && !read.rendered.iter().any(waits),
            crashes: row.crashes,
            agent: read.status.as_ref().map(|status| AgentReport {
                holds: match status.participant {
                    None => Holds::Nothing,
                    Some(id) if id == read.participant_id => Holds::This,
                    Some(_) => Holds::Another,
                },
                generation: status.generation,
                converged_generation: status.converged,
                phase: status.phase,
                postgres_runs: status.postgres_runs,
                crashes: status.crashes,
                wants_reads: status.phase == Phase::Creating,
                wal_half_kept: false,
            }),
        }
    }

    pub(super) fn read_resource(&self, id: Rid) -> ResourceRead {
        let resource = self
            .rows
            .resources
            .get(id)
            .expect("a member has a row")
            .clone();
        let participant = resource.row.participant.map(|id| {
            (
                id,
                self.rows
                    .participants
                    .get(id)
                    .expect("attached to one")
                    .clone(),
            )
        });
        let server = participant.as_ref().map(|(_, it)| {
            self.rows
                .servers
                .get(it.row.server)
                .expect("runs on one")
                .clone()
        });
        ResourceRead {
            id,
            resource,
            participant,
            server,
        }
    }

    pub(super) fn resource_facts(&self, read: &ResourceRead, driver: Driver) -> resource::Facts {
        let row = &read.resource.row;
        resource::Facts {
            driver,
            state: row.life.state,
            time_in_state: self.now.saturating_sub(row.life.since),
            deadline_passed: row.life.deadline.is_some_and(|at| at <= self.now),
            destroy_requested: row.life.destroy_requested,
            cadence: Self::cadence(row.dedicated),
            dedicated: row.dedicated,
            secrets_made: row.secrets,
            source: row.source,
            attached: self.attached(read),
            endpoint: Self::endpoint_view(read),
            seen: self.seen(read.id),
            disk: DiskView::Unknown,
        }
    }

    fn attached(&self, read: &ResourceRead) -> Option<Attached> {
        let (_, participant) = read.participant.as_ref()?;
        let server = &read.server.as_ref()?.row;
        let row = &participant.row;
        let asks = resource::asks_agent(read.resource.row.life.state);
        let answer = server
            .address
            .filter(|_| asks)
            .map(|address| self.cloud.ask(address, self.now));
        Some(Attached {
            participant: row.life.state,
            destroy_requested: row.life.destroy_requested,
            server: server.life.state,
            instruction: match read.resource.row.instructed {
                None => Instruction::NotGiven,
                Some(generation) if generation <= row.acknowledged => Instruction::Acknowledged,
                Some(_) => Instruction::Given,
            },
            agent: answer.map_or(resource::AgentView::NotAsked, |answer| match answer {
                Err(Unreached::Refused) => resource::AgentView::Refused,
                Err(Unreached::TimedOut) => resource::AgentView::TimedOut,
                Ok(status) => match status.phase {
                    Phase::Running => resource::AgentView::Runs,
                    Phase::Creating | Phase::Starting | Phase::Stopping => {
                        resource::AgentView::Busy
                    }
                    Phase::Empty | Phase::Stopped | Phase::Removed => resource::AgentView::Idle,
                },
            }),
            restart_asked_ago: row.restart_asked_at.map(|at| self.now.saturating_sub(at)),
        })
    }

    fn endpoint_view(read: &ResourceRead) -> EndpointView {
        let row = &read.resource.row;
        let wanted = read.server.as_ref().and_then(|server| server.row.address);
        let heard = row.endpoint_acknowledged == row.endpoint_generation;
        match row.endpoint {
            None if heard => EndpointView::Unset,
            Some(address) if heard && Some(address) == wanted => EndpointView::Pointed,
            None | Some(_) => EndpointView::Behind,
        }
    }

    fn seen(&self, id: Rid) -> Seen {
        let fresh = self
            .looks
            .get(&id)
            .filter(|look| self.now.saturating_sub(look.at) < LOOK_IS_OLD);
        match fresh.map(|look| (look.answer, look.absent_in_a_row)) {
            None => Seen::Nothing,
            Some((Ok(start), _)) => Seen::Answers {
                restarted: self
                    .known_starts
                    .get(&id)
                    .is_some_and(|known| *known != start),
            },
            Some((Err(outage), in_a_row)) => Seen::Absent { outage, in_a_row },
        }
    }

    /// Looks at the service of a resource and keeps what was seen.
    pub(super) fn feel(&mut self, id: Rid) {
        let read = self.read_resource(id);
        let Some(address) = read.server.as_ref().and_then(|server| server.row.address) else {
            return;
        };
        self.pass_time_on(address.0);
        let answer = self.cloud.feel(address, id, self.now);
        let before = self.looks.get(&id).map_or(0, |look| look.absent_in_a_row);
        let absent_in_a_row = if answer.is_err() { before + 1 } else { 0 };
        self.looks.insert(
            id,
            Look {
                at: self.now,
                answer,
                absent_in_a_row,
            },
        );
    }

    /// Whether the ring feels a resource in a state.
    pub(super) fn is_felt(state: ResourceState) -> bool {
        matches!(
            state,
            ResourceState::Available | ResourceState::Unavailable | ResourceState::Recovering
        )
    }
}
