//! Races too rare for dice: two turns put side by side by hand.

use std::time::Duration;

use shared::domain::{JobKind, ResourceState};
use shared::machine::Act;
use shared::machine::participant::Step;

use super::world::queue::Claim;
use super::world::rows::{Rid, Sid};
use super::world::turn::Turn;
use super::world::{Member, World};

fn turn_of(member: Member) -> Turn {
    Turn::new(Claim { member, token: 0 })
}

fn take(world: &mut World, member: Member) {
    let mut turn = turn_of(member);
    while world.advance(&mut turn) {}
    world.now += Duration::from_millis(100);
}

fn server_of(world: &World, id: Rid) -> Sid {
    let participant = world
        .rows
        .resources
        .row(id)
        .participant
        .expect("the resource is placed");
    world.rows.participants.row(participant).server
}

/// Takes turns of a server until one is about to instruct its participant, and stops it there.
fn about_to_instruct(world: &mut World, server: Sid) -> Turn {
    for _ in 0..100 {
        let mut turn = turn_of(Member::Server(server));
        loop {
            let instructs =
                |work: &super::world::turn::Work| work.act == Act::ParticipantStep(Step::Instruct);
            if turn.work().is_some_and(instructs) {
                return turn;
            }
            if !world.advance(&mut turn) {
                break;
            }
        }
        world.now += Duration::from_millis(100);
    }
    unreachable!("the participant was never instructed:\n{}", world.told())
}

/// Were it given the generation all the same, its data would be made by that generation, and its
/// acknowledgement taken for that of the drop: the data would stay for ever.
#[test]
fn a_resource_that_changes_while_it_is_rendered_is_not_given_that_generation() {
    let mut world = World::new(1);
    world.cloud.work_takes = Duration::from_millis(50);
    let id = world.create(false);
    take(&mut world, Member::Job(JobKind::Provision, id));
    let server = server_of(&world, id);
    let mut instructing = about_to_instruct(&mut world, server);

    world.destroy(id);
    take(&mut world, Member::Resource(id));
    assert_eq!(world.state_of(id), ResourceState::Deprovisioning);
    assert!(
        world.advance(&mut instructing),
        "the generation is allocated"
    );
    assert!(world.advance(&mut instructing), "and sent");
    assert_eq!(
        world.rows.resources.row(id).instructed,
        None,
        "{}",
        world.told()
    );

    drop(instructing);
    for _ in 0..100 {
        take(&mut world, Member::Server(server));
        take(&mut world, Member::Job(JobKind::Deprovision, id));
        if world.state_of(id) == ResourceState::Deprovisioned {
            return;
        }
    }
    unreachable!("it never went:\n{}", world.told());
}
