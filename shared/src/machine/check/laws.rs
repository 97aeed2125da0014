//! What the decisions of each machine promise, over all classes of facts.

use std::time::Duration;

use super::spaces::Space;
use super::{Machine, Participant, Resource, Server};
use crate::agent_api::Phase;
use crate::domain::{JobKind, Outage, ParticipantState, ResourceState, ServerState};
use crate::machine::participant::Holds;
use crate::machine::resource::{AgentView, Driver, Instruction, Seen};
use crate::machine::server::ProviderView;
use crate::machine::{participant, resource, server};

#[test]
fn a_server_that_carries_a_living_participant_is_never_destroyed() {
    Server::for_each(|facts| {
        let decision = Server::decide(facts);
        let living = matches!(
            facts.participant,
            Some(ParticipantState::Creating | ParticipantState::Serving | ParticipantState::Down)
        );
        let destroys = decision.event == Some(server::Event::DestroyRequested);
        assert!(
            !(destroys && (living || !facts.destroy_requested)),
            "{facts:?}"
        );
    });
}

#[test]
fn an_instance_is_made_only_while_its_server_lives_and_destroyed_only_after() {
    Server::for_each(|facts| {
        let leaving = matches!(
            facts.state,
            ServerState::Terminating | ServerState::Terminated
        );
        match Server::decide(facts).step {
            Some(server::Step::EnsureInstance) => assert!(!leaving, "{facts:?}"),
            Some(server::Step::DestroyInstance) => assert!(leaving, "{facts:?}"),
            Some(server::Step::RenewCertificate | server::Step::RecordContact) | None => {}
        }
    });
}

#[test]
fn a_server_is_terminated_only_on_the_word_of_its_provider() {
    Server::for_each(|facts| {
        let decision = Server::decide(facts);
        if decision.event == Some(server::Event::InstanceGone) || decision.done {
            assert_eq!(facts.provider, ProviderView::Absent, "{facts:?}");
        }
    });
}

#[test]
fn a_zombie_instance_of_a_terminated_server_is_destroyed() {
    Server::for_each(|facts| {
        let zombie = matches!(
            facts.provider,
            ProviderView::Pending | ProviderView::Running | ProviderView::Stopped
        );
        if facts.state == ServerState::Terminated && zombie {
            let decision = Server::decide(facts);
            assert_eq!(
                decision.step,
                Some(server::Step::DestroyInstance),
                "{facts:?}"
            );
        }
    });
}

#[test]
fn nobody_is_instructed_while_a_person_must_look() {
    Participant::for_each(|facts| {
        let Some(agent) = facts.agent else { return };
        let lost = facts.acknowledged_generation > 0
            && facts.state != ParticipantState::Removing
            && agent.holds == Holds::Nothing;
        if agent.holds == Holds::Another || agent.generation > facts.generation || lost {
            let step = Participant::decide(facts).step;
            assert_ne!(step, Some(participant::Step::Instruct), "{facts:?}");
        }
    });
}

#[test]
fn a_participant_is_removed_only_when_its_data_is_gone() {
    Participant::for_each(|facts| match Participant::decide(facts).event {
        Some(participant::Event::DataGone) => {
            let confirmed = facts.agent.is_some_and(|agent| {
                agent.holds == Holds::This
                    && agent.phase == Phase::Removed
                    && agent.converged_generation == facts.generation
                    && facts.instruction_is_current
            });
            assert!(facts.generation == 0 || confirmed, "{facts:?}");
            assert!(
                facts.server_destroy_requested,
                "its server would leak: {facts:?}"
            );
        }
        Some(participant::Event::ServerGone) => {
            assert_eq!(facts.server, ServerState::Terminated, "{facts:?}");
        }
        _ => {}
    });
}

#[test]
fn what_an_agent_missed_it_is_told_again() {
    Participant::for_each(|facts| {
        let Some(agent) = facts.agent else { return };
        let calm = facts.state == ParticipantState::Serving
            && facts.server == ServerState::Ready
            && !facts.destroy_requested
            && agent.holds == Holds::This
            && agent.phase == Phase::Running
            && agent.postgres_runs
            && agent.crashes == facts.crashes
            && agent.generation <= facts.generation
            && agent.converged_generation <= facts.acknowledged_generation;
        let missed = !facts.instruction_is_current || agent.generation < facts.generation;
        if calm && missed {
            let decision = Participant::decide(facts);
            assert_eq!(
                decision.step,
                Some(participant::Step::Instruct),
                "{facts:?}"
            );
        }
    });
}

#[test]
fn the_ring_leaves_the_work_of_jobs_to_jobs() {
    Resource::for_each(|facts| {
        let decision = Resource::decide(facts);
        if facts.driver == Driver::Ring {
            assert!(
                matches!(decision.step, None | Some(resource::Step::PointEndpoint)),
                "{facts:?}"
            );
            if decision.rests() && !decision.done {
                assert_eq!(decision.job, resource::job_of(facts.state), "{facts:?}");
            }
            assert_eq!(
                decision.done,
                facts.state == ResourceState::Deprovisioned,
                "{facts:?}"
            );
        }
    });
}

#[test]
fn a_job_is_done_exactly_when_its_state_is_over() {
    Resource::for_each(|facts| {
        if let Driver::Job(kind) = facts.driver {
            let decision = Resource::decide(facts);
            assert_eq!(
                decision.done,
                resource::job_of(facts.state) != Some(kind),
                "{facts:?}"
            );
        }
    });
}

#[test]
fn a_request_to_destroy_is_obeyed_in_every_state() {
    Resource::for_each(|facts| {
        let asked = facts.destroy_requested
            && !matches!(
                facts.state,
                ResourceState::Deprovisioning | ResourceState::Deprovisioned
            );
        let decision = Resource::decide(facts);
        if asked && !decision.done {
            assert_eq!(
                decision.event,
                Some(resource::Event::DestroyRequested),
                "{facts:?}"
            );
        } else {
            assert_ne!(
                decision.event,
                Some(resource::Event::DestroyRequested),
                "{facts:?}"
            );
        }
    });
}

#[test]
fn a_resource_becomes_available_only_on_an_acknowledged_generation_and_endpoint() {
    Resource::for_each(|facts| {
        let event = Resource::decide(facts).event;
        if matches!(
            event,
            Some(resource::Event::ServiceReady | resource::Event::ServiceBack)
        ) {
            assert!(matches!(facts.seen, Seen::Answers { .. }), "{facts:?}");
            assert_eq!(facts.endpoint, resource::EndpointView::Pointed, "{facts:?}");
        }
        if event == Some(resource::Event::ServiceReady) {
            let attached = facts.attached.expect("attached");
            assert_eq!(attached.instruction, Instruction::Acknowledged, "{facts:?}");
        }
    });
}

#[test]
fn nothing_is_repaired_when_only_we_may_be_cut_off() {
    Resource::for_each(|facts| {
        let agent = facts.attached.map(|attached| attached.agent);
        let cut_off = matches!(
            facts.seen,
            Seen::Absent {
                outage: Outage::TimedOut,
                ..
            }
        ) && matches!(agent, Some(AgentView::TimedOut | AgentView::NotAsked));
        let decision = Resource::decide(facts);
        if cut_off {
            assert_ne!(
                decision.event,
                Some(resource::Event::RecoveryStarted),
                "{facts:?}"
            );
            assert_ne!(
                decision.step,
                Some(resource::Step::RestartInPlace),
                "{facts:?}"
            );
        }
    });
}

#[test]
fn a_restart_in_place_disturbs_neither_neighbours_nor_redo_nor_itself() {
    Resource::for_each(|facts| {
        if Resource::decide(facts).step == Some(resource::Step::RestartInPlace) {
            let attached = facts.attached.expect("attached");
            assert_eq!(attached.agent, AgentView::Runs, "{facts:?}");
            assert!(
                attached.restart_asked_ago != Some(Duration::ZERO),
                "{facts:?}"
            );
            let broken = matches!(
                facts.seen,
                Seen::Absent {
                    outage: Outage::Broken,
                    ..
                }
            );
            assert!(facts.dedicated || !broken, "{facts:?}");
            assert_eq!(facts.driver, Driver::Job(JobKind::Recover), "{facts:?}");
        }
    });
}

#[test]
fn a_resource_is_forgotten_only_when_its_data_is_gone() {
    Resource::for_each(|facts| {
        let decision = Resource::decide(facts);
        if decision.step == Some(resource::Step::Forget)
            && let Some(attached) = facts.attached
        {
            let dropped = !facts.dedicated && attached.instruction == Instruction::Acknowledged;
            let gone = attached.participant == ParticipantState::Removed;
            assert!(dropped || gone, "{facts:?}");
        }
        if decision.event == Some(resource::Event::EverythingGone) {
            assert!(facts.attached.is_none() && !facts.secrets_made, "{facts:?}");
        }
    });
}

#[test]
fn a_new_resource_whose_postgres_hangs_before_it_was_ever_seen_is_restarted() {
    let looks = |in_a_row| {
        let attached = resource::Attached {
            participant: ParticipantState::Serving,
            destroy_requested: false,
            server: ServerState::Ready,
            instruction: Instruction::Acknowledged,
            agent: AgentView::Runs,
            restart_asked_ago: None,
        };
        Resource::decide(&resource::Facts {
            source: resource::Source::Empty,
            driver: Driver::Job(JobKind::Provision),
            state: ResourceState::Creating,
            time_in_state: Duration::from_mins(1),
            deadline_passed: false,
            destroy_requested: false,
            cadence: Duration::from_secs(10),
            dedicated: true,
            secrets_made: true,
            attached: Some(attached),
            endpoint: resource::EndpointView::Unset,
            seen: Seen::Absent {
                outage: Outage::TimedOut,
                in_a_row,
            },
            disk: resource::DiskView::Unknown,
        })
        .step
    };
    let until = resource::LOOKS_UNTIL_STUCK;
    assert_eq!(looks(until - 1), Some(resource::Step::Probe));
    assert_eq!(looks(until), Some(resource::Step::RestartInPlace));
}
