//! Redis loses some of its data, or all of it: what was proven before proves nothing after.

use std::time::Duration;

use shared::queue::{
    BeginReply, ClaimReply, LeaveReply, Outcome, Queue, SettleReply, Settlement, WakeReply,
};

use super::world::{LEASE, SHARD, World, again, resource, worker};

/// Asserts that neither `settle` nor `extend` of a lease from before has any effect.
async fn refuses(queue: &Queue, claim: &shared::queue::Claim) {
    for outcome in [again(1), Outcome::Done] {
        let settlement = Settlement {
            member: claim.member,
            token: claim.token,
            outcome,
        };
        let replies = queue.settle(SHARD, &[settlement], worker(1)).await.unwrap();
        assert_eq!(replies, [SettleReply::Lost]);
    }
    let held = [(claim.member, claim.token)];
    assert_eq!(
        queue.extend(SHARD, &held, LEASE, worker(1)).await.unwrap(),
        [false]
    );
}

async fn claims(queue: &Queue, number: u128) -> Vec<shared::queue::Claim> {
    match queue
        .claim(SHARD, 500, LEASE, worker(number))
        .await
        .unwrap()
    {
        ClaimReply::Claims { claims, .. } => claims,
        ClaimReply::NoRing => panic!("there is no ring"),
    }
}

/// Runs a verb until Redis is there again.
async fn once_back(queue: &Queue) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = queue.stats(SHARD).await {
        assert!(error.is_transient(), "{error:?}");
        assert!(tokio::time::Instant::now() < deadline, "{error:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn after_a_flush_old_leases_are_refused_and_the_ring_is_built_anew() {
    let world = World::new().await;
    let queue = world.real();
    queue.wake(SHARD.ring, resource(1)).await.unwrap();
    let old = claims(queue, 1).await[0];

    world.server.flush().await.unwrap();

    let reply = queue.claim(SHARD, 1, LEASE, worker(2)).await.unwrap();
    assert_eq!(reply, ClaimReply::NoRing);
    refuses(queue, &old).await;
    assert_eq!(
        queue.stats(SHARD).await.unwrap().size,
        0,
        "a late settle enters nothing"
    );

    queue
        .enter(SHARD.ring, &[(resource(1), Duration::ZERO)])
        .await
        .unwrap();
    refuses(queue, &old).await;
    assert_eq!(queue.begin(SHARD, 2).await.unwrap(), BeginReply::Begun);
    let new = claims(queue, 2).await[0];
    assert_eq!(new.member, old.member);
    assert!(new.token > old.token);
    refuses(queue, &old).await;
    assert_eq!(
        queue.leave(SHARD.ring, resource(1)).await.unwrap(),
        LeaveReply::Left
    );
}

#[tokio::test]
async fn after_a_restart_without_data_the_same_holds_on_a_new_connection() {
    let mut world = World::new().await;
    let queue = world.real().clone();
    queue.wake(SHARD.ring, resource(1)).await.unwrap();
    let old = claims(&queue, 1).await[0];

    world.server.restart_empty().await.unwrap();
    once_back(&queue).await;

    refuses(&queue, &old).await;
    let reply = queue.claim(SHARD, 1, LEASE, worker(2)).await.unwrap();
    assert_eq!(reply, ClaimReply::NoRing);
    assert_eq!(
        queue.wake(SHARD.ring, resource(1)).await.unwrap(),
        WakeReply::Entered
    );
    queue.begin(SHARD, 2).await.unwrap();
    assert!(claims(&queue, 1).await[0].token > old.token);
    refuses(&queue, &old).await;
}

#[tokio::test]
async fn after_a_rollback_a_token_is_not_handed_out_again_not_even_to_the_same_worker() {
    let mut world = World::new().await;
    let queue = world.real().clone();
    queue.wake(SHARD.ring, resource(1)).await.unwrap();
    let copy = world.server.save_copy().await.unwrap();
    let old = claims(&queue, 1).await[0];

    world.server.restart_from_copy(&copy).await.unwrap();
    once_back(&queue).await;

    refuses(&queue, &old).await;
    let new = claims(&queue, 1).await[0];
    assert_eq!(new.member, old.member, "the copy has it waiting");
    assert_eq!(
        new.token.epoch, old.token.epoch,
        "nobody noticed the rollback"
    );
    assert!(new.token > old.token);
    refuses(&queue, &old).await;
    let settlement = Settlement {
        member: new.member,
        token: new.token,
        outcome: Outcome::Done,
    };
    let replies = queue.settle(SHARD, &[settlement], worker(1)).await.unwrap();
    assert_eq!(replies, [SettleReply::Settled]);
}

#[tokio::test]
async fn even_a_token_that_repeats_is_not_taken_for_another_workers() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let copy = world.server.save_copy().await.unwrap();
    let old = world.claim_one(worker(1)).await;

    world.server.restart_from_copy(&copy).await.unwrap();
    once_back(&world.queue()).await;

    // The clock of this test stands still, as if that of Redis had been set back.
    let new = world.claim_one(worker(2)).await;
    assert_eq!(new.token, old.token);
    refuses(&world.queue(), &old).await;
    assert_eq!(
        world.settle(worker(2), &new, again(5)).await,
        SettleReply::Settled
    );
}

#[tokio::test]
async fn a_lease_that_the_copy_still_has_may_be_settled_once_more() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    let copy = world.server.save_copy().await.unwrap();
    assert_eq!(
        world.settle(worker(1), &claim, again(60)).await,
        SettleReply::Settled
    );

    world.server.restart_from_copy(&copy).await.unwrap();
    once_back(&world.queue()).await;

    assert_eq!(
        world.settle(worker(1), &claim, again(90)).await,
        SettleReply::Settled
    );
    assert_eq!(world.due(resource(1)).await, Some(90_000));
}

#[tokio::test]
async fn a_rollback_to_before_an_epoch_keeps_epochs_growing() {
    let mut world = World::new().await;
    let queue = world.real().clone();
    let copy = world.server.save_copy().await.unwrap();
    queue.begin(SHARD, 2).await.unwrap();
    queue.wake(SHARD.ring, resource(1)).await.unwrap();
    let old = claims(&queue, 1).await[0];

    world.server.restart_from_copy(&copy).await.unwrap();
    once_back(&queue).await;

    assert_eq!(queue.stats(SHARD).await.unwrap().epoch, Some(1));
    queue.wake(SHARD.ring, resource(1)).await.unwrap();
    claims(&queue, 2).await;
    refuses(&queue, &old).await;
    assert_eq!(queue.begin(SHARD, 3).await.unwrap(), BeginReply::Begun);
    refuses(&queue, &old).await;
}
