//! The decision about a resource, state by state.

use std::time::Duration;

use super::{
    AgentView, Attached, DiskView, Driver, EndpointView, Event, Facts, HARD_PATIENCE, Instruction,
    LOOKS_UNTIL_STUCK, RESTART_PAUSE, Resource, SOFT_PATIENCE, Seen, Source, Step,
    TIME_OUTS_UNTIL_LOST, job_of,
};
use crate::domain::{Outage, ParticipantState, ResourceState, ServerState};
use crate::machine::{Alert, Decision, Machine, cadence};

type Next = Decision<Event, Step>;

pub(super) fn decide(facts: &Facts) -> Next {
    let decision = match facts.state {
        ResourceState::Creating => create(facts),
        ResourceState::Available => keep(facts),
        ResourceState::Unavailable => watch(facts),
        ResourceState::Recovering => recover(facts),
        ResourceState::Deprovisioning => remove(facts),
        ResourceState::Deprovisioned => Decision::finished(),
    };
    for_driver(facts, decision.alerting(alert(facts)))
}

/// The ring performs nothing but to keep the endpoint of a living resource pointed: it makes sure
/// that the job exists and looks again. A job whose state is over is done.
fn for_driver(facts: &Facts, decision: Next) -> Next {
    let wanted = job_of(facts.state);
    match facts.driver {
        Driver::Ring if wanted.is_some() && decision.step.is_some() => Decision {
            step: None,
            come_back: cadence::troubled(facts.cadence),
            job: wanted,
            ..decision
        },
        Driver::Ring => Decision {
            job: wanted,
            ..decision
        },
        Driver::Job(kind) if wanted == Some(kind) => Decision {
            job: wanted,
            ..decision
        },
        Driver::Job(_) => Decision {
            job: wanted,
            ..Decision::finished()
        },
    }
}

fn alert(facts: &Facts) -> Option<Alert> {
    let late = Resource::deadline(facts.state)
        .filter(|_| facts.deadline_passed)
        .map(|late| late.alert);
    match facts.state {
        ResourceState::Available | ResourceState::Unavailable | ResourceState::Recovering
            if without_participant(facts) =>
        {
            Some(Alert::ResourceWithoutParticipant)
        }
        ResourceState::Unavailable if cut_off(facts) && facts.time_in_state >= SOFT_PATIENCE => {
            Some(Alert::ResourceCutOff)
        }
        ResourceState::Available | ResourceState::Unavailable | ResourceState::Recovering => {
            match facts.disk {
                DiskView::Hangs => Some(Alert::DiskHangs),
                DiskView::NearlyFull => Some(Alert::DiskNearlyFull),
                DiskView::Well | DiskView::Unknown => late,
            }
        }
        ResourceState::Creating | ResourceState::Deprovisioning | ResourceState::Deprovisioned => {
            late
        }
    }
}

fn create(facts: &Facts) -> Next {
    if facts.destroy_requested {
        return Decision::record(Event::DestroyRequested);
    }
    if facts.source == Source::Refused {
        return Decision::record(Event::SourceRefused);
    }
    if !facts.secrets_made {
        return Decision::perform(Step::MakeSecrets, Duration::ZERO);
    }
    if facts.source == Source::Wanted {
        return Decision::perform(Step::FindSource, cadence::waiting(facts.time_in_state));
    }
    let Some(attached) = facts.attached.filter(may_serve) else {
        return Decision::perform(Step::Place, Duration::ZERO);
    };
    let serving = attached.participant == ParticipantState::Serving;
    if !serving || attached.instruction != Instruction::Acknowledged {
        return Decision::perform(
            Step::AwaitParticipant,
            cadence::waiting(facts.time_in_state),
        );
    }
    if facts.source == Source::Donated {
        return Decision::perform(Step::Transfer, cadence::waiting(facts.time_in_state));
    }
    match (facts.seen, facts.endpoint) {
        (Seen::Nothing, _) => Decision::perform(Step::Probe, Duration::ZERO),
        (Seen::Absent { outage, in_a_row }, _)
            if in_a_row >= LOOKS_UNTIL_STUCK && restart_helps(facts, outage, &attached) =>
        {
            Decision::perform(Step::RestartInPlace, cadence::waiting(facts.time_in_state))
        }
        (Seen::Absent { .. }, _) => {
            Decision::perform(Step::Probe, cadence::waiting(facts.time_in_state))
        }
        (Seen::Answers { .. }, EndpointView::Unset | EndpointView::Behind) => point(),
        (Seen::Answers { .. }, EndpointView::Pointed) => Decision::record(Event::ServiceReady),
    }
}

fn keep(facts: &Facts) -> Next {
    if facts.destroy_requested {
        return Decision::record(Event::DestroyRequested);
    }
    match facts.seen {
        Seen::Answers { .. } if facts.endpoint != EndpointView::Pointed => follow(facts),
        Seen::Answers { restarted: true } => Decision::record(Event::RestartSeen),
        Seen::Absent {
            outage: Outage::TimedOut,
            in_a_row,
        } if in_a_row < TIME_OUTS_UNTIL_LOST => Decision::rest(cadence::troubled(facts.cadence)),
        Seen::Absent { .. } => Decision::record(Event::ServiceLost),
        Seen::Answers { restarted: false } => Decision::rest(facts.cadence),
        Seen::Nothing => Decision::rest(cadence::troubled(facts.cadence)),
    }
}

fn watch(facts: &Facts) -> Next {
    if facts.destroy_requested {
        return Decision::record(Event::DestroyRequested);
    }
    match facts.seen {
        Seen::Answers { .. } if facts.endpoint != EndpointView::Pointed => follow(facts),
        Seen::Answers { .. } => Decision::record(Event::ServiceBack),
        Seen::Absent { .. } if patience(facts).is_some_and(|most| facts.time_in_state >= most) => {
            Decision::record(Event::RecoveryStarted)
        }
        Seen::Absent { .. } | Seen::Nothing => Decision::rest(cadence::troubled(facts.cadence)),
    }
}

fn recover(facts: &Facts) -> Next {
    if facts.destroy_requested {
        return Decision::record(Event::DestroyRequested);
    }
    match facts.seen {
        Seen::Answers { .. } if facts.endpoint != EndpointView::Pointed => follow(facts),
        Seen::Answers { .. } => Decision::record(Event::ServiceBack),
        Seen::Nothing => Decision::perform(Step::Probe, cadence::troubled(facts.cadence)),
        Seen::Absent { outage, .. } => match facts.attached {
            Some(attached) if restart_helps(facts, outage, &attached) => {
                Decision::perform(Step::RestartInPlace, cadence::troubled(facts.cadence))
            }
            Some(_) => Decision::perform(Step::Repair, cadence::troubled(facts.cadence)),
            None => Decision::rest(cadence::troubled(facts.cadence)),
        },
    }
}

fn remove(facts: &Facts) -> Next {
    let Some(attached) = facts.attached else {
        return if facts.secrets_made {
            Decision::perform(Step::Forget, Duration::ZERO)
        } else {
            Decision::record(Event::EverythingGone)
        };
    };
    let participant_gone = attached.participant == ParticipantState::Removed;
    let asked = !facts.dedicated || attached.destroy_requested || participant_gone;
    if facts.endpoint != EndpointView::Unset || !asked {
        return Decision::perform(Step::Withdraw, Duration::ZERO);
    }
    let dropped = !facts.dedicated && attached.instruction == Instruction::Acknowledged;
    if participant_gone || dropped {
        return Decision::perform(Step::Forget, Duration::ZERO);
    }
    Decision::perform(Step::AwaitRemoval, cadence::waiting(facts.time_in_state))
}

/// Points the endpoint once the participant has been told: one that holds passwords gets them after the
/// server, for before that nobody could log in.
fn follow(facts: &Facts) -> Next {
    let is_told = facts
        .attached
        .is_some_and(|attached| attached.instruction == Instruction::Acknowledged);
    if is_told {
        point()
    } else {
        Decision::rest(cadence::troubled(facts.cadence))
    }
}

fn point() -> Next {
    Decision::perform(Step::PointEndpoint, Duration::ZERO)
}

/// Whether a participant can still become the home of a new resource.
fn may_serve(attached: &Attached) -> bool {
    let participant_stays = match attached.participant {
        ParticipantState::Planned
        | ParticipantState::Creating
        | ParticipantState::Serving
        | ParticipantState::Down => !attached.destroy_requested,
        ParticipantState::Removing | ParticipantState::Removed => false,
    };
    let server_stays = match attached.server {
        ServerState::Requested
        | ServerState::Booting
        | ServerState::Ready
        | ServerState::Unreachable => true,
        ServerState::Terminating | ServerState::Terminated => false,
    };
    participant_stays && server_stays
}

fn without_participant(facts: &Facts) -> bool {
    facts
        .attached
        .is_none_or(|attached| match attached.participant {
            ParticipantState::Removing | ParticipantState::Removed => true,
            ParticipantState::Planned
            | ParticipantState::Creating
            | ParticipantState::Serving
            | ParticipantState::Down => false,
        })
}

/// How long this absence must last before its repair begins; nothing while it may be only we who
/// are cut off: then nothing is repaired.
fn patience(facts: &Facts) -> Option<Duration> {
    let Seen::Absent { outage, .. } = facts.seen else {
        return None;
    };
    match outage {
        Outage::Refused | Outage::Broken => Some(HARD_PATIENCE),
        Outage::TimedOut => match facts.attached?.agent {
            AgentView::Runs | AgentView::Busy | AgentView::Idle | AgentView::Refused => {
                Some(SOFT_PATIENCE)
            }
            AgentView::TimedOut | AgentView::NotAsked => None,
        },
    }
}

fn cut_off(facts: &Facts) -> bool {
    matches!(facts.seen, Seen::Absent { .. }) && patience(facts).is_none()
}

/// A restart in place helps when the agent says that PostgreSQL runs, but it does not serve. One
/// that starts or recovers must not be disturbed, or it would begin its redo anew each time; one
/// that does not run is started by its agent anyway. On a shared server a fault of one database is
/// no reason to disturb its neighbours.
fn restart_helps(facts: &Facts, outage: Outage, attached: &Attached) -> bool {
    let whole_cluster = facts.dedicated
        || match outage {
            Outage::Refused | Outage::TimedOut => true,
            Outage::Broken => false,
        };
    let paused = attached
        .restart_asked_ago
        .is_some_and(|ago| ago < RESTART_PAUSE);
    whole_cluster && !paused && attached.agent == AgentView::Runs
}
