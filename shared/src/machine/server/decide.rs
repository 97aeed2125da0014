//! The decision about a server, state by state.

use std::time::Duration;

use super::{
    AgentView, CONTACT_EVERY, Event, Facts, ProviderView, SILENT_UNTIL_LOST, Server, Step,
    TIME_OUTS_UNTIL_LOST, UNREACHABLE_UNTIL_GIVEN_UP,
};
use crate::domain::{ParticipantState, ServerState};
use crate::machine::{Alert, Decision, Machine, cadence};

use ServerState::{Booting, Ready, Requested, Terminated, Terminating, Unreachable};

type Next = Decision<Event, Step>;

pub(super) fn decide(facts: &Facts) -> Next {
    if may_be_destroyed(facts) {
        return Decision::record(Event::DestroyRequested);
    }
    match facts.state {
        Requested => launch(facts),
        Booting => boot(facts),
        Ready => keep(facts),
        Unreachable => reach(facts),
        Terminating => terminate(facts),
        Terminated => end(facts),
    }
    .alerting(alert(facts))
}

fn alert(facts: &Facts) -> Option<Alert> {
    Server::deadline(facts.state)
        .filter(|_| facts.deadline_passed)
        .map(|deadline| deadline.alert)
}

/// A request to destroy is honoured when no data is left on the server, or when none can be
/// reached and the participant is on its way out itself: its data then goes with the machine. A
/// participant that shall live protects its server.
fn may_be_destroyed(facts: &Facts) -> bool {
    let nothing_reachable = match facts.state {
        Requested | Booting => true,
        Unreachable => facts.time_in_state >= UNREACHABLE_UNTIL_GIVEN_UP,
        Ready => false,
        Terminating | Terminated => return false,
    };
    facts.destroy_requested
        && match facts.participant {
            None | Some(ParticipantState::Removed) => true,
            Some(ParticipantState::Planned | ParticipantState::Removing) => nothing_reachable,
            Some(
                ParticipantState::Creating | ParticipantState::Serving | ParticipantState::Down,
            ) => false,
        }
}

fn launch(facts: &Facts) -> Next {
    match facts.provider {
        ProviderView::Pending | ProviderView::Running | ProviderView::Stopped => {
            Decision::record(Event::LaunchAsked)
        }
        ProviderView::Absent => ensure(facts),
        ProviderView::NotAsked | ProviderView::Unknown => wait(facts),
    }
}

fn boot(facts: &Facts) -> Next {
    match facts.agent {
        AgentView::Answers { .. } if !facts.address_known => ensure(facts),
        // The first one was made before the address was known, and clients look for it.
        AgentView::Answers {
            certificate_due: true,
            ..
        } => Decision::perform(
            Step::RenewCertificate,
            cadence::waiting(facts.time_in_state),
        ),
        AgentView::Answers { .. } => Decision::record(Event::AgentAnswered),
        AgentView::NotAsked | AgentView::Refused | AgentView::TimedOut { .. } => revive(facts),
    }
}

fn keep(facts: &Facts) -> Next {
    let silent = facts.silent_for.unwrap_or(Duration::MAX);
    match facts.agent {
        AgentView::Answers { rebooted: true, .. } => Decision::record(Event::RebootSeen),
        AgentView::Answers { .. } if silent >= CONTACT_EVERY => {
            Decision::perform(Step::RecordContact, Duration::ZERO)
        }
        AgentView::Answers {
            certificate_due: true,
            ..
        } => Decision::perform(Step::RenewCertificate, cadence::server(facts.cadence)),
        AgentView::Answers { .. } => Decision::rest(cadence::server(facts.cadence)),
        AgentView::Refused => Decision::record(Event::AgentLost),
        AgentView::TimedOut { in_a_row }
            if in_a_row >= TIME_OUTS_UNTIL_LOST || silent >= SILENT_UNTIL_LOST =>
        {
            Decision::record(Event::AgentLost)
        }
        AgentView::TimedOut { .. } | AgentView::NotAsked => {
            Decision::rest(cadence::troubled(facts.cadence))
        }
    }
}

fn reach(facts: &Facts) -> Next {
    match facts.agent {
        AgentView::Answers { .. } => Decision::record(Event::AgentAnswered),
        AgentView::NotAsked | AgentView::Refused | AgentView::TimedOut { .. } => revive(facts),
    }
}

/// An instance that runs is ensured too: its agent may be dead, or its address another one by now.
fn revive(facts: &Facts) -> Next {
    match facts.provider {
        ProviderView::Absent | ProviderView::Running | ProviderView::Stopped => ensure(facts),
        ProviderView::Pending if !facts.address_known => ensure(facts),
        ProviderView::Pending | ProviderView::Unknown | ProviderView::NotAsked => wait(facts),
    }
}

fn terminate(facts: &Facts) -> Next {
    match facts.provider {
        ProviderView::Absent => Decision::record(Event::InstanceGone),
        ProviderView::Pending | ProviderView::Running | ProviderView::Stopped => {
            Decision::perform(Step::DestroyInstance, cadence::waiting(facts.time_in_state))
        }
        ProviderView::NotAsked | ProviderView::Unknown => wait(facts),
    }
}

/// A worker that was stalled may have had the instance made again: whoever finds it enters the
/// member again, and it is destroyed here.
fn end(facts: &Facts) -> Next {
    match facts.provider {
        ProviderView::Pending | ProviderView::Running | ProviderView::Stopped => {
            Decision::perform(Step::DestroyInstance, cadence::waiting(facts.time_in_state))
        }
        ProviderView::NotAsked | ProviderView::Unknown => wait(facts),
        ProviderView::Absent => match facts.participant {
            None | Some(ParticipantState::Removed) => Decision::finished(),
            Some(
                ParticipantState::Planned
                | ParticipantState::Creating
                | ParticipantState::Serving
                | ParticipantState::Down
                | ParticipantState::Removing,
            ) => wait(facts),
        },
    }
}

fn ensure(facts: &Facts) -> Next {
    Decision::perform(Step::EnsureInstance, cadence::waiting(facts.time_in_state))
}

fn wait(facts: &Facts) -> Next {
    Decision::rest(cadence::waiting(facts.time_in_state))
}
