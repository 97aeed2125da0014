//! One turn, cut into phases between which anything may happen: another turn, a fault, a death.
//!
//! Events have one phase, the record. Steps have the phases of `steps`: effects on the outside and
//! records in the control database, in the order that production has them.

use std::time::Duration;

use shared::domain::JobKind;
use shared::machine::participant::Participant;
use shared::machine::resource::{Driver, Resource};
use shared::machine::server::Server;
use shared::machine::{Act, Alert, Decision, MAX_HOPS, Machine};

use super::facts::{ResourceRead, ServerRead};
use super::queue::Claim;
use super::rows::Conflict;
use super::{Member, Subject, World};

/// Pause after a turn that could not do what it wanted.
const BACK_OFF: Duration = Duration::from_secs(1);

/// What was read for an act.
#[derive(Debug, Clone)]
pub(crate) enum Read {
    Resource(Box<ResourceRead>),
    Server(Box<ServerRead>),
}

/// An act that was decided on, with everything it was decided from.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) act: Act,
    pub(crate) phase: usize,
    pub(crate) read: Read,
    come_back: Duration,
}

/// Why an act cannot go on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop;

impl From<Conflict> for Stop {
    fn from(_: Conflict) -> Self {
        Self
    }
}

/// What becomes of the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Again(Duration),
    Done,
}

#[derive(Debug, Clone)]
enum Stage {
    Look,
    Work(Work),
    Settle(Rest),
}

/// A turn under way.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) claim: Claim,
    stage: Stage,
    hops: usize,
    /// When the server itself wants its next turn; set once its machine rested in this turn.
    server_rests: Option<Duration>,
}

impl Turn {
    pub(crate) fn new(claim: Claim) -> Self {
        Self {
            claim,
            stage: Stage::Look,
            hops: 0,
            server_rests: None,
        }
    }

    /// The act that the next phase belongs to.
    pub(crate) fn work(&self) -> Option<&Work> {
        match &self.stage {
            Stage::Work(work) => Some(work),
            Stage::Look | Stage::Settle(_) => None,
        }
    }
}

/// A decision of any machine, in the terms of a turn.
struct Decided {
    act: Option<Act>,
    come_back: Duration,
    done: bool,
    job: Option<JobKind>,
}

impl World {
    /// Takes a turn one phase further; false when it is over.
    pub(crate) fn advance(&mut self, turn: &mut Turn) -> bool {
        match std::mem::replace(&mut turn.stage, Stage::Look) {
            Stage::Look => turn.stage = self.look(turn),
            Stage::Work(mut work) => {
                turn.stage = match self.perform(&work) {
                    Err(Stop) => Stage::Settle(Rest::Again(BACK_OFF)),
                    Ok(true) => {
                        work.phase += 1;
                        Stage::Work(work)
                    }
                    Ok(false) => Self::after(turn, &work),
                };
            }
            Stage::Settle(rest) => {
                self.settle(turn.claim, rest);
                return false;
            }
        }
        true
    }

    fn after(turn: &mut Turn, work: &Work) -> Stage {
        let rests = !work.come_back.is_zero();
        match work.act {
            Act::ServerStep(_) if rests => {
                turn.server_rests = Some(work.come_back);
                Stage::Look
            }
            Act::ResourceStep(_) | Act::ParticipantStep(_) if rests => {
                let own = turn.server_rests.unwrap_or(work.come_back);
                Stage::Settle(Rest::Again(work.come_back.min(own)))
            }
            _ => Stage::Look,
        }
    }

    fn look(&mut self, turn: &mut Turn) -> Stage {
        turn.hops += 1;
        self.demand(turn.hops <= MAX_HOPS, || {
            format!("{:?} goes round in circles", turn.claim)
        });
        match turn.claim.member {
            Member::Resource(id) => {
                let state = self.state_of(id);
                if turn.hops == 1 && Self::is_felt(state) {
                    self.feel(id);
                }
                self.look_at_resource(id, Driver::Ring)
            }
            Member::Job(kind, id) => self.look_at_resource(id, Driver::Job(kind)),
            Member::Server(id) => self.look_at_server(id, turn),
        }
    }

    fn look_at_resource(&mut self, id: super::rows::Rid, driver: Driver) -> Stage {
        let read = self.read_resource(id);
        let facts = self.resource_facts(&read, driver);
        let decision = Resource::decide(&facts);
        if decision.rests() {
            self.raise(Subject::Resource(id), decision.alert);
        }
        let decided = Decided::new(
            &decision,
            |event| Act::ResourceEvent(facts.state, event),
            Act::ResourceStep,
        );
        self.ensure_job(id, decided.job);
        if decided.done
            && let Driver::Job(kind) = driver
        {
            self.rows.jobs.remove(&(kind, id));
        }
        Self::stage(&decided, || Read::Resource(Box::new(read)))
            .unwrap_or_else(|| Stage::Settle(decided.rest()))
    }

    fn look_at_server(&mut self, id: super::rows::Sid, turn: &mut Turn) -> Stage {
        let read = self.read_server(id);
        let (server_facts, participant_facts) = self.server_facts(&read);
        let decision = Server::decide(&server_facts);
        if decision.rests() {
            self.raise(Subject::Server(id), decision.alert);
        }
        let server = Decided::new(
            &decision,
            |event| Act::ServerEvent(server_facts.state, event),
            Act::ServerStep,
        );
        let performed = turn.server_rests.is_some() && decision.step.is_some();
        if !performed
            && let Some(stage) = Self::stage(&server, || Read::Server(Box::new(read.clone())))
        {
            return stage;
        }
        let decision = Participant::decide(&participant_facts);
        if decision.rests() {
            self.raise(Subject::Participant(read.participant_id), decision.alert);
        }
        let participant = Decided::new(
            &decision,
            |event| Act::ParticipantEvent(participant_facts.state, event),
            Act::ParticipantStep,
        );
        if let Some(stage) = Self::stage(&participant, || Read::Server(Box::new(read))) {
            turn.server_rests = Some(server.come_back);
            return stage;
        }
        Stage::Settle(match (server.done, participant.done) {
            (true, true) => Rest::Done,
            (true, false) => Rest::Again(participant.come_back),
            (false, true) => Rest::Again(server.come_back),
            (false, false) => Rest::Again(server.come_back.min(participant.come_back)),
        })
    }

    fn stage(decided: &Decided, read: impl FnOnce() -> Read) -> Option<Stage> {
        decided.act.map(|act| {
            Stage::Work(Work {
                act,
                phase: 0,
                read: read(),
                come_back: decided.come_back,
            })
        })
    }

    fn settle(&mut self, claim: Claim, rest: Rest) {
        let again = match rest {
            Rest::Again(delay) => {
                let seed = self.dice.next();
                Some(self.now + shared::machine::cadence::jittered(delay, seed))
            }
            Rest::Done => None,
        };
        self.queue.settle(claim, again, self.now);
    }

    fn raise(&mut self, subject: Subject, alert: Option<Alert>) {
        self.alerts
            .retain(|(about, known)| *about != subject || Some(*known) == alert);
        if let Some(alert) = alert
            && self.alerts.insert((subject, alert))
        {
            self.raised.insert(alert);
            self.tell(|| format!("ALERT {alert} about {subject:?}"));
        }
    }

    pub(super) fn ensure_job(&mut self, id: super::rows::Rid, job: Option<JobKind>) {
        if let Some(kind) = job
            && self.rows.jobs.insert((kind, id))
        {
            self.wake(Member::Job(kind, id));
        }
    }
}

impl Decided {
    fn new<E: Copy, T: Copy>(
        decision: &Decision<E, T>,
        event: impl FnOnce(E) -> Act,
        step: impl FnOnce(T) -> Act,
    ) -> Self {
        Self {
            act: decision
                .event
                .map(event)
                .or_else(|| decision.step.map(step)),
            come_back: decision.come_back,
            done: decision.done,
            job: decision.job,
        }
    }

    fn rest(&self) -> Rest {
        if self.done {
            Rest::Done
        } else {
            Rest::Again(self.come_back)
        }
    }
}
