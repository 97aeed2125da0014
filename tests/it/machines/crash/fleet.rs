//! Stories over the real adapters: control database, Redis, agents and PostgreSQL of the provider
//! `local`, and the turns of real workers, taken one at a time.
//!
//! The time of rows and queue is a clock of the story that jumps to whatever is due next, so no
//! cadence and no lease is waited for. What agents do takes the time that it takes: between two
//! turns the story waits until they rest.

mod end;
mod going;
mod play;
mod scenes;
mod stage;

use std::collections::BTreeSet;

use shared::domain::{ParticipantState, ResourceState, ServerState};
use shared::machine::{Act, participant, resource, server};

use super::survives_every_cut;
use stage::{Fleet, Part};

fn acts_of_a_life() -> BTreeSet<Act> {
    use participant::{Event as P, Step as Ps};
    use resource::{Event as R, Step as Rs};
    use server::{Event as S, Step as Ss};

    BTreeSet::from([
        Act::ResourceStep(Rs::MakeSecrets),
        Act::ResourceStep(Rs::Place),
        Act::ResourceStep(Rs::AwaitParticipant),
        Act::ResourceStep(Rs::Probe),
        Act::ResourceStep(Rs::PointEndpoint),
        Act::ResourceEvent(ResourceState::Creating, R::ServiceReady),
        Act::ResourceEvent(ResourceState::Available, R::DestroyRequested),
        Act::ResourceStep(Rs::Withdraw),
        Act::ResourceStep(Rs::AwaitRemoval),
        Act::ResourceStep(Rs::Forget),
        Act::ResourceEvent(ResourceState::Deprovisioning, R::EverythingGone),
        Act::ServerStep(Ss::EnsureInstance),
        Act::ServerEvent(ServerState::Requested, S::LaunchAsked),
        Act::ServerEvent(ServerState::Booting, S::AgentAnswered),
        Act::ServerEvent(ServerState::Ready, S::DestroyRequested),
        Act::ServerStep(Ss::DestroyInstance),
        Act::ServerEvent(ServerState::Terminating, S::InstanceGone),
        Act::ParticipantStep(Ps::Instruct),
        Act::ParticipantEvent(ParticipantState::Planned, P::Instructed),
        Act::ParticipantEvent(ParticipantState::Creating, P::Converged),
        Act::ParticipantStep(Ps::Acknowledge),
        Act::ParticipantEvent(ParticipantState::Serving, P::DestroyRequested),
        Act::ParticipantStep(Ps::MarkServerForDestruction),
        Act::ParticipantEvent(ParticipantState::Removing, P::DataGone),
    ])
}

fn is_of_a_resource(act: Act) -> bool {
    matches!(act, Act::ResourceEvent(..) | Act::ResourceStep(_))
}

async fn survives(part: Part) {
    let all = acts_of_a_life();
    let all = all.into_iter().filter(|act| (part.cuts)(*act)).collect();
    let fleet = Fleet::start(part).await.expect("the fleet starts");
    let made = survives_every_cut(&fleet, &all).await;
    assert!(made > 0, "nothing was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_database_survives_every_cut_of_its_resource() {
    survives(Part {
        story: &scenes::STANDARD,
        cuts: is_of_a_resource,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_database_survives_every_cut_of_its_server() {
    survives(Part {
        story: &scenes::STANDARD,
        cuts: |act| !is_of_a_resource(act),
    })
    .await;
}

/// What is different on a shared server: it is there already, it is told to drop one database, and
/// it stays.
#[tokio::test(flavor = "multi_thread")]
async fn two_hobby_databases_survive_every_cut_of_what_is_shared() {
    use participant::Step as Ps;
    use resource::{Event, Step};

    survives(Part {
        story: &scenes::TWO_HOBBY,
        cuts: |act| {
            matches!(
                act,
                Act::ResourceStep(Step::Place | Step::Withdraw | Step::Forget)
                    | Act::ResourceEvent(ResourceState::Deprovisioning, Event::EverythingGone)
                    | Act::ParticipantStep(Ps::Instruct | Ps::Acknowledge)
            )
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postmaster_is_recorded_through_every_cut() {
    use participant::Event as P;
    use resource::Event as R;

    let part = Part {
        story: &scenes::KILLED_POSTMASTER,
        cuts: |act| {
            matches!(
                act,
                Act::ResourceEvent(ResourceState::Available, R::RestartSeen)
                    | Act::ParticipantEvent(ParticipantState::Serving, P::CrashSeen)
            )
        },
    };
    let all = BTreeSet::from([
        Act::ResourceEvent(ResourceState::Available, R::RestartSeen),
        Act::ParticipantEvent(ParticipantState::Serving, P::CrashSeen),
    ]);
    let fleet = Fleet::start(part).await.expect("the fleet starts");
    survives_every_cut(&fleet, &all).await;
}
