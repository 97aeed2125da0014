//! The machine of a participant: from a plan to no byte left.
//!
//! It is taken in the turn of its server, after the server's machine. What the participant shall be
//! is rendered from the rows of the control database into one spec; [`Step::Instruct`] gives it a
//! generation before anything leaves the control plane. Data is born once: an agent that lost what
//! it held is never told to make it anew.

use std::time::Duration;

use super::{Alert, Deadline, Decision, Machine, Row, cadence, row, words};
use crate::agent_api::Phase;
use crate::domain::{MachineKind, ParticipantState, ServerState};

use ParticipantState::{Creating, Down, Planned, Removed, Removing, Serving};

/// The machine of a participant.
#[derive(Debug, Clone, Copy)]
pub struct Participant;

words!(
    /// What was seen of, or asked of, a participant.
    Event {
        /// The agent made the first instruction durable.
        Instructed = "instructed",
        /// A whole instruction holds, and PostgreSQL runs.
        Converged = "converged",
        /// PostgreSQL does not run, or cannot be seen. Stored along: the problem.
        PostgresLost = "postgres_lost",
        /// PostgreSQL runs again; problem cleared.
        PostgresBack = "postgres_back",
        /// The agent counts more unasked ends of PostgreSQL than are recorded. Stored along: its
        /// count.
        CrashSeen = "crash_seen",
        /// It shall go.
        DestroyRequested = "destroy_requested",
        /// The agent says that neither process nor data is left, or none was ever told to make any.
        DataGone = "data_gone",
        /// The server is gone, and all data with it.
        ServerGone = "server_gone",
    }
);

words!(
    /// What a worker can do about a participant.
    Step {
        /// Render the spec from the rows. If its digest is not the recorded one, allocate the next
        /// generation by compare-and-set, with the digest; in the same transaction give that
        /// generation to the attached resources that have none and still are of the version that
        /// was rendered. Then send it to the agent.
        Instruct = "instruct",
        /// Record the converged generation and wake the resources that waited for it.
        Acknowledge = "acknowledge",
        /// Ask for the end of the server, which lived for this participant.
        MarkServerForDestruction = "mark_server_for_destruction",
    }
);

/// Whose data the agent says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holds {
    /// Nobody's: it was never given a spec, or lost it.
    Nothing,
    /// That of this participant.
    This,
    /// That of another participant.
    Another,
}

/// What the agent's status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentReport {
    /// Whose data it holds.
    pub holds: Holds,
    /// Highest generation made durable there; 0 before the first.
    pub generation: u64,
    /// Highest generation that holds in full; 0 before the first.
    pub converged_generation: u64,
    /// Where its work stands.
    pub phase: Phase,
    /// PostgreSQL runs.
    pub postgres_runs: bool,
    /// Unasked ends of PostgreSQL it counts.
    pub crashes: u64,
}

/// Everything the decision about a participant is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are independent of each other"
)]
pub struct Facts {
    /// Its state.
    pub state: ParticipantState,
    /// How long it has been in this state.
    pub time_in_state: Duration,
    /// The stored deadline of the state has passed.
    pub deadline_passed: bool,
    /// Somebody decided that it shall go.
    pub destroy_requested: bool,
    /// Cadence of its server's plan.
    pub cadence: Duration,
    /// State of its server, after the server's own machine was taken.
    pub server: ServerState,
    /// The server was asked to go.
    pub server_destroy_requested: bool,
    /// Number of the newest instruction allocated; 0 before the first.
    pub generation: u64,
    /// Highest generation recorded as holding in full; 0 before the first.
    pub acknowledged_generation: u64,
    /// The recorded digest is that of the spec as rendered now, and no attached resource waits for
    /// a generation of its own.
    pub instruction_is_current: bool,
    /// Unasked ends of PostgreSQL recorded.
    pub crashes: u64,
    /// What the agent says; nothing if it was not asked or did not answer.
    pub agent: Option<AgentReport>,
}

impl Machine for Participant {
    type State = ParticipantState;
    type Event = Event;
    type Step = Step;
    type Facts = Facts;

    const KIND: MachineKind = MachineKind::Participant;
    const INITIAL: ParticipantState = Planned;
    const TABLE: &'static [Row<ParticipantState, Event>] = &[
        row(
            Planned,
            Event::Instructed,
            Creating,
            "its agent took the first instruction",
        ),
        row(
            Planned,
            Event::DestroyRequested,
            Removing,
            "it is not needed any more",
        ),
        row(
            Planned,
            Event::ServerGone,
            Removed,
            "its server is gone before it was made",
        ),
        row(
            Creating,
            Event::Converged,
            Serving,
            "PostgreSQL runs as instructed",
        ),
        row(
            Creating,
            Event::DestroyRequested,
            Removing,
            "it is not needed any more",
        ),
        row(
            Creating,
            Event::ServerGone,
            Removed,
            "its server is gone before it was made",
        ),
        row(
            Serving,
            Event::PostgresLost,
            Down,
            "PostgreSQL does not run, or its agent does not answer any more",
        ),
        row(
            Serving,
            Event::CrashSeen,
            Serving,
            "PostgreSQL ended without being told to; its agent cleaned up and started it again",
        ),
        row(
            Serving,
            Event::DestroyRequested,
            Removing,
            "it is not needed any more",
        ),
        row(
            Serving,
            Event::ServerGone,
            Removed,
            "its server is gone, and its data with it",
        ),
        row(Down, Event::PostgresBack, Serving, "PostgreSQL runs again"),
        row(
            Down,
            Event::CrashSeen,
            Down,
            "PostgreSQL ended without being told to; its agent cleans up and starts it again",
        ),
        row(
            Down,
            Event::DestroyRequested,
            Removing,
            "it is not needed any more",
        ),
        row(
            Down,
            Event::ServerGone,
            Removed,
            "its server is gone, and its data with it",
        ),
        row(
            Removing,
            Event::DataGone,
            Removed,
            "neither process nor data is left",
        ),
        row(
            Removing,
            Event::ServerGone,
            Removed,
            "its server is gone, and its data with it",
        ),
    ];

    fn decide(facts: &Facts) -> Decision<Event, Step> {
        if facts.state != Removed && facts.server == ServerState::Terminated {
            return Decision::record(Event::ServerGone);
        }
        let living = matches!(facts.state, Planned | Creating | Serving | Down);
        if living && facts.destroy_requested {
            return Decision::record(Event::DestroyRequested);
        }
        match facts.state {
            Planned => plan(facts),
            Creating => create(facts),
            Serving => serve(facts),
            Down => raise(facts),
            Removing => remove(facts),
            Removed => return Decision::finished(),
        }
        .alerting(alert(facts))
    }

    fn deadline(state: ParticipantState) -> Option<Deadline> {
        let (minutes, alert) = match state {
            Planned => (10, Alert::ParticipantWaitsForServer),
            Creating => (5, Alert::ParticipantCreationLate),
            Down => (2, Alert::ParticipantDown),
            Removing => (10, Alert::ParticipantRemovalLate),
            Serving | Removed => return None,
        };
        Some(Deadline {
            after: Duration::from_mins(minutes),
            alert,
        })
    }
}

fn alert(facts: &Facts) -> Option<Alert> {
    match trouble(facts) {
        Some(Trouble::Misplaced) => Some(Alert::ParticipantMisplaced),
        Some(Trouble::GenerationAhead) => Some(Alert::ParticipantGenerationAhead),
        Some(Trouble::DataMissing) => Some(Alert::ParticipantDataMissing),
        None => Participant::deadline(facts.state)
            .filter(|_| facts.deadline_passed)
            .map(|deadline| deadline.alert),
    }
}

/// What forbids any instruction until a person has looked.
enum Trouble {
    Misplaced,
    GenerationAhead,
    DataMissing,
}

fn trouble(facts: &Facts) -> Option<Trouble> {
    let agent = facts.agent?;
    if agent.holds == Holds::Another {
        Some(Trouble::Misplaced)
    } else if agent.generation > facts.generation {
        Some(Trouble::GenerationAhead)
    } else if facts.acknowledged_generation > 0
        && facts.state != Removing
        && (agent.holds == Holds::Nothing || agent.phase == Phase::Empty)
    {
        Some(Trouble::DataMissing)
    } else {
        None
    }
}

fn plan(facts: &Facts) -> Decision<Event, Step> {
    match facts.agent {
        None => wait(facts),
        Some(_) if trouble(facts).is_some() => wait(facts),
        Some(agent) if agent.holds == Holds::This && agent.generation >= 1 => {
            Decision::record(Event::Instructed)
        }
        Some(_) => Decision::perform(Step::Instruct, Duration::ZERO),
    }
}

fn create(facts: &Facts) -> Decision<Event, Step> {
    match facts.agent {
        None => wait(facts),
        Some(_) if trouble(facts).is_some() => wait(facts),
        Some(agent) if runs(&agent) && agent.converged_generation >= 1 => {
            Decision::record(Event::Converged)
        }
        Some(agent) => instructed(facts, &agent).unwrap_or_else(|| wait(facts)),
    }
}

fn serve(facts: &Facts) -> Decision<Event, Step> {
    let cadence = cadence::server(facts.cadence);
    let Some(agent) = facts.agent else {
        return match facts.server {
            ServerState::Unreachable => Decision::record(Event::PostgresLost),
            ServerState::Requested
            | ServerState::Booting
            | ServerState::Ready
            | ServerState::Terminating
            | ServerState::Terminated => Decision::rest(cadence),
        };
    };
    if agent.holds != Holds::This || !runs(&agent) {
        return Decision::record(Event::PostgresLost);
    }
    if trouble(facts).is_some() {
        return Decision::rest(cadence);
    }
    if agent.crashes > facts.crashes {
        return Decision::record(Event::CrashSeen);
    }
    if agent.converged_generation > facts.acknowledged_generation {
        return Decision::perform(Step::Acknowledge, Duration::ZERO);
    }
    instructed(facts, &agent).unwrap_or_else(|| {
        if agent.converged_generation < facts.generation {
            wait_for_convergence()
        } else {
            Decision::rest(cadence)
        }
    })
}

fn raise(facts: &Facts) -> Decision<Event, Step> {
    match facts.agent {
        None => wait(facts),
        Some(_) if trouble(facts).is_some() => wait(facts),
        Some(agent) if agent.crashes > facts.crashes => Decision::record(Event::CrashSeen),
        Some(agent) if runs(&agent) => Decision::record(Event::PostgresBack),
        Some(agent) => instructed(facts, &agent).unwrap_or_else(|| wait(facts)),
    }
}

/// The server is marked before the end is recorded, so that a crash between the two leaves no
/// server behind. While its agent cannot be reached, the deadline marks it too: the server's
/// machine then decides when the data may go with the machine.
fn remove(facts: &Facts) -> Decision<Event, Step> {
    let gone = facts.generation == 0
        || facts.agent.is_some_and(|agent| {
            facts.instruction_is_current
                && agent.holds == Holds::This
                && agent.converged_generation == facts.generation
                && agent.phase == Phase::Removed
        });
    let marked = facts.server_destroy_requested;
    match facts.agent {
        _ if gone && marked => Decision::record(Event::DataGone),
        _ if gone || (facts.deadline_passed && facts.agent.is_none() && !marked) => {
            Decision::perform(Step::MarkServerForDestruction, Duration::ZERO)
        }
        None => wait(facts),
        Some(_) if trouble(facts).is_some() => wait(facts),
        Some(agent) => instructed(facts, &agent).unwrap_or_else(|| wait(facts)),
    }
}

/// Instructs if the agent has not seen what the participant shall be now.
fn instructed(facts: &Facts, agent: &AgentReport) -> Option<Decision<Event, Step>> {
    (!facts.instruction_is_current || agent.generation < facts.generation)
        .then_some(Decision::perform(Step::Instruct, Duration::ZERO))
}

fn runs(agent: &AgentReport) -> bool {
    agent.postgres_runs && agent.phase == Phase::Running
}

fn wait(facts: &Facts) -> Decision<Event, Step> {
    Decision::rest(cadence::waiting(facts.time_in_state))
}

/// A customer may be waiting for it, however long the participant has been serving.
fn wait_for_convergence() -> Decision<Event, Step> {
    Decision::rest(cadence::waiting(Duration::ZERO))
}
