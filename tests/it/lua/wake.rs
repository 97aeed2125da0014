use std::time::Duration;

use shared::queue::{Outcome, Ring, SettleReply, Shard, WakeReply};
use tokio::time::timeout;

use super::world::{LEASE, SHARD, World, again, resource, worker};

/// Longest wait for news, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn wake(world: &World, number: u128) -> WakeReply {
    world
        .queue()
        .wake(SHARD.ring, resource(number))
        .await
        .unwrap()
}

#[tokio::test]
async fn an_absent_member_enters_and_is_due() {
    let world = World::new().await;
    assert_eq!(wake(&world, 1).await, WakeReply::Entered);
    assert_eq!(wake(&world, 1).await, WakeReply::Due);
    assert_eq!(world.claim_one(worker(1)).await.member, resource(1));
}

#[tokio::test]
async fn a_waiting_member_is_due_now() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 60)]).await;
    world.advance(Duration::from_secs(1));
    assert_eq!(wake(&world, 1).await, WakeReply::Advanced);
    assert_eq!(world.due(resource(1)).await, Some(1000));
}

#[tokio::test]
async fn a_due_member_keeps_its_place() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    world.advance(Duration::from_secs(5));
    assert_eq!(wake(&world, 1).await, WakeReply::Due);
    assert_eq!(world.due(resource(1)).await, Some(0));
}

#[tokio::test]
async fn a_leased_member_is_marked_once_and_its_lease_is_untouched() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    assert_eq!(wake(&world, 1).await, WakeReply::Marked);
    let marked = world.owner(resource(1)).await;
    assert_eq!(wake(&world, 1).await, WakeReply::Marked);
    assert_eq!(world.owner(resource(1)).await, marked);
    assert_eq!(world.lease(resource(1)).await, Some(30_000));
    assert_eq!(world.due(resource(1)).await, None);
    assert_eq!(world.claim(worker(2), 10).await, []);
    assert_eq!(
        world.settle(worker(1), &claim, Outcome::Done).await,
        SettleReply::Woken
    );
    assert_eq!(world.claim_one(worker(2)).await.member, resource(1));
}

#[tokio::test]
async fn a_wake_is_not_lost_with_the_worker_that_dies() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    world.claim_one(worker(1)).await;
    world.advance(LEASE);
    assert_eq!(wake(&world, 1).await, WakeReply::Marked);
    assert_eq!(world.claim_one(worker(2)).await.member, resource(1));
}

#[tokio::test]
async fn a_wake_before_the_ring_begins_is_kept() {
    let world = World::without_ring().await;
    assert_eq!(wake(&world, 1).await, WakeReply::Entered);
    world.enter(&[(resource(1), 60), (resource(2), 60)]).await;
    world.queue().begin(SHARD, 1).await.unwrap();
    assert_eq!(world.claim_one(worker(1)).await.member, resource(1));
}

#[tokio::test]
async fn without_injected_time_it_is_due_by_redis_time() {
    let world = World::new().await;
    let later = [(resource(1), Duration::from_hours(1))];
    world.real().enter(SHARD.ring, &later).await.unwrap();
    let reply = world.real().wake(SHARD.ring, resource(1)).await.unwrap();
    assert_eq!(reply, WakeReply::Advanced);
    assert_eq!(world.real().stats(SHARD).await.unwrap().due, 1);
}

#[tokio::test]
async fn subscribers_hear_which_shard_has_work() {
    let mut world = World::new().await;
    let mut wakes = world.queue().subscribe_wakes().await;
    assert!(wakes.is_connected());

    wake(&world, 1).await;
    assert_eq!(timeout(PATIENCE, wakes.next()).await, Ok(SHARD));
    let claim = world.claim_one(worker(1)).await;
    world.queue().wake(Ring::Urgent, resource(2)).await.unwrap();
    let urgent = Shard {
        ring: Ring::Urgent,
        index: 0,
    };
    assert_eq!(timeout(PATIENCE, wakes.next()).await, Ok(urgent));

    assert_eq!(wake(&world, 1).await, WakeReply::Marked);
    world.queue().wake(Ring::Jobs, resource(3)).await.unwrap();
    let jobs = Shard {
        ring: Ring::Jobs,
        index: 0,
    };
    assert_eq!(
        timeout(PATIENCE, wakes.next()).await,
        Ok(jobs),
        "a mark is no news"
    );

    world.advance(LEASE);
    assert_eq!(wake(&world, 1).await, WakeReply::Marked);
    assert_eq!(
        timeout(PATIENCE, wakes.next()).await,
        Ok(SHARD),
        "an expired lease is"
    );
    assert_eq!(
        world.settle(worker(1), &claim, again(60)).await,
        SettleReply::Woken
    );
}

#[tokio::test]
async fn a_subscription_heals_when_redis_comes_back() {
    let mut world = World::new().await;
    let mut wakes = world.queue().subscribe_wakes().await;
    world.server.restart_empty().await.unwrap();
    let queue = world.queue();
    let listening = timeout(PATIENCE, wakes.next());
    let waking = async {
        loop {
            drop(queue.wake(SHARD.ring, resource(1)).await);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        heard = listening => assert_eq!(heard, Ok(SHARD)),
        () = waking => {}
    }
}

#[tokio::test]
async fn a_subscription_that_began_without_redis_heals_too() {
    let mut world = World::new().await;
    world.server.kill().unwrap();
    let mut wakes = world.queue().subscribe_wakes().await;
    assert!(!wakes.is_connected());
    world.server.restart_empty().await.unwrap();
    let queue = world.queue();
    let waking = async {
        loop {
            drop(queue.wake(SHARD.ring, resource(1)).await);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        heard = timeout(PATIENCE, wakes.next()) => assert_eq!(heard, Ok(SHARD)),
        () = waking => {}
    }
}
