//! The decision about a participant, state by state.

use std::time::Duration;

use super::{AgentReport, Event, Facts, Holds, Participant, Step};
use crate::agent_api::Phase;
use crate::domain::{ParticipantState, ServerState};
use crate::machine::{Alert, Decision, Machine, cadence};

use ParticipantState::{Creating, Down, Planned, Removed, Removing, Serving};

type Next = Decision<Event, Step>;

pub(super) fn decide(facts: &Facts) -> Next {
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

fn alert(facts: &Facts) -> Option<Alert> {
    match trouble(facts) {
        Some(Trouble::Misplaced) => Some(Alert::ParticipantMisplaced),
        Some(Trouble::GenerationAhead) => Some(Alert::ParticipantGenerationAhead),
        Some(Trouble::DataMissing) => Some(Alert::ParticipantDataMissing),
        None => Participant::deadline(facts.state)
            .filter(|_| facts.deadline_passed)
            .map(|deadline| deadline.alert)
            .or_else(|| {
                let keeps = facts.agent.is_some_and(|agent| agent.wal_half_kept);
                (facts.state == Serving && keeps).then_some(Alert::ParticipantWalHalfKept)
            }),
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

fn plan(facts: &Facts) -> Next {
    match facts.agent {
        None => wait(facts),
        Some(_) if trouble(facts).is_some() => wait(facts),
        Some(agent) if agent.holds == Holds::This && agent.generation >= 1 => {
            Decision::record(Event::Instructed)
        }
        Some(_) => Decision::perform(Step::Instruct, Duration::ZERO),
    }
}

fn create(facts: &Facts) -> Next {
    match facts.agent {
        None => wait(facts),
        Some(_) if trouble(facts).is_some() => wait(facts),
        Some(agent) if runs(&agent) && agent.converged_generation >= 1 => {
            Decision::record(Event::Converged)
        }
        Some(agent) => instructed(facts, &agent)
            .or_else(|| gives_reads(&agent))
            .unwrap_or_else(|| wait(facts)),
    }
}

fn serve(facts: &Facts) -> Next {
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
    let next = instructed(facts, &agent).or_else(|| gives_reads(&agent));
    next.unwrap_or_else(|| {
        if agent.converged_generation < facts.generation {
            wait_for_convergence()
        } else {
            Decision::rest(cadence)
        }
    })
}

fn raise(facts: &Facts) -> Next {
    match facts.agent {
        None => wait(facts),
        Some(_) if trouble(facts).is_some() => wait(facts),
        Some(agent) if agent.crashes > facts.crashes => Decision::record(Event::CrashSeen),
        Some(agent) if runs(&agent) => Decision::record(Event::PostgresBack),
        Some(agent) => instructed(facts, &agent)
            .or_else(|| gives_reads(&agent))
            .unwrap_or_else(|| wait(facts)),
    }
}

/// The server is marked before the end is recorded, so that a crash between the two leaves no
/// server behind. While its agent cannot be reached, the deadline marks it too: the server's
/// machine then decides when the data may go with the machine.
fn remove(facts: &Facts) -> Next {
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
fn instructed(facts: &Facts, agent: &AgentReport) -> Option<Next> {
    (!facts.instruction_is_current || agent.generation < facts.generation)
        .then_some(Decision::perform(Step::Instruct, Duration::ZERO))
}

/// What is read next is known a moment after something was read.
fn gives_reads(agent: &AgentReport) -> Option<Next> {
    agent
        .wants_reads
        .then_some(Decision::perform(Step::GiveReads, cadence::READING))
}

fn runs(agent: &AgentReport) -> bool {
    agent.postgres_runs && agent.phase == Phase::Running
}

fn wait(facts: &Facts) -> Next {
    Decision::rest(cadence::waiting(facts.time_in_state))
}

/// A customer may be waiting for it, however long the participant has been serving.
fn wait_for_convergence() -> Next {
    Decision::rest(cadence::waiting(Duration::ZERO))
}
