use shared::queue::{LeaveReply, SettleReply, WakeReply};

use super::world::{LEASE, SHARD, World, again, resource, worker};

#[tokio::test]
async fn a_waiting_member_leaves_and_run_twice_it_is_absent() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0), (resource(2), 0)]).await;
    let queue = world.queue();
    assert_eq!(
        queue.leave(SHARD.ring, resource(1)).await.unwrap(),
        LeaveReply::Left
    );
    assert_eq!(
        queue.leave(SHARD.ring, resource(1)).await.unwrap(),
        LeaveReply::Absent
    );
    assert_eq!(world.claim_one(worker(1)).await.member, resource(2));
}

#[tokio::test]
async fn a_leased_member_leaves_and_its_turn_is_lost() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    let queue = world.queue();
    queue.wake(SHARD.ring, resource(1)).await.unwrap();
    assert_eq!(
        queue.leave(SHARD.ring, resource(1)).await.unwrap(),
        LeaveReply::Left
    );
    assert_eq!(world.owner(resource(1)).await, None);
    assert_eq!(
        world.settle(worker(1), &claim, again(1)).await,
        SettleReply::Lost
    );
    world.advance(LEASE);
    assert_eq!(world.claim(worker(2), 10).await, []);
}

#[tokio::test]
async fn one_that_left_may_come_back_and_its_old_token_is_worth_nothing() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let old = world.claim_one(worker(1)).await;
    world.queue().leave(SHARD.ring, resource(1)).await.unwrap();
    let woken = world.queue().wake(SHARD.ring, resource(1)).await.unwrap();
    assert_eq!(woken, WakeReply::Entered);
    let new = world.claim_one(worker(1)).await;
    assert!(new.token > old.token);
    assert_eq!(
        world.settle(worker(1), &old, again(1)).await,
        SettleReply::Lost
    );
    assert_eq!(
        world.settle(worker(1), &new, again(1)).await,
        SettleReply::Settled
    );
}

#[tokio::test]
async fn an_empty_shard_has_nothing_to_leave() {
    let world = World::without_ring().await;
    let reply = world.queue().leave(SHARD.ring, resource(1)).await.unwrap();
    assert_eq!(reply, LeaveReply::Absent);
}
