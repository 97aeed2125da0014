use std::time::Duration;

use shared::queue::{Outcome, SettleReply, Settlement, Token};

use super::world::{LEASE, SHARD, World, again, resource, worker};

#[tokio::test]
async fn again_makes_it_due_after_its_delay() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    world.advance(Duration::from_secs(2));
    assert_eq!(
        world.settle(worker(1), &claim, again(10)).await,
        SettleReply::Settled
    );
    assert_eq!(world.due(resource(1)).await, Some(12_000));
    assert_eq!(world.lease(resource(1)).await, None);
    assert_eq!(world.owner(resource(1)).await, None);
}

#[tokio::test]
async fn done_ends_it() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    assert_eq!(
        world.settle(worker(1), &claim, Outcome::Done).await,
        SettleReply::Settled
    );
    let keys = world.queue().keys(SHARD);
    let left: u64 = world
        .raw(&["EXISTS", &keys.due, &keys.leased, &keys.owner])
        .await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn nothing_to_settle_is_settled() {
    let world = World::new().await;
    assert_eq!(
        world.queue().settle(SHARD, &[], worker(1)).await.unwrap(),
        []
    );
}

#[tokio::test]
async fn run_twice_the_second_is_lost_and_changes_nothing() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    assert_eq!(
        world.settle(worker(1), &claim, again(10)).await,
        SettleReply::Settled
    );
    assert_eq!(
        world.settle(worker(1), &claim, again(99)).await,
        SettleReply::Lost
    );
    assert_eq!(
        world.settle(worker(1), &claim, Outcome::Done).await,
        SettleReply::Lost
    );
    assert_eq!(world.due(resource(1)).await, Some(10_000));
}

#[tokio::test]
async fn twice_in_one_batch_the_second_is_lost() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    let settlement = |outcome| Settlement {
        member: claim.member,
        token: claim.token,
        outcome,
    };
    let batch = [settlement(again(10)), settlement(Outcome::Done)];
    let replies = world
        .queue()
        .settle(SHARD, &batch, worker(1))
        .await
        .unwrap();
    assert_eq!(replies, [SettleReply::Settled, SettleReply::Lost]);
    assert_eq!(world.due(resource(1)).await, Some(10_000));
}

#[tokio::test]
async fn a_wrong_token_or_a_wrong_worker_is_lost() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    let Token { epoch, counter } = claim.token;
    for token in [
        Token {
            epoch,
            counter: counter + 1,
        },
        Token {
            epoch,
            counter: counter - 1,
        },
        Token {
            epoch: epoch + 1,
            counter,
        },
        Token {
            epoch: 0,
            counter: 0,
        },
    ] {
        let reply = world
            .settle_as(worker(1), claim.member, token, again(1))
            .await;
        assert_eq!(reply, SettleReply::Lost, "{token}");
    }
    assert_eq!(
        world.settle(worker(2), &claim, again(1)).await,
        SettleReply::Lost
    );
    assert_eq!(world.lease(resource(1)).await, Some(30_000));
    assert_eq!(
        world.settle(worker(1), &claim, again(1)).await,
        SettleReply::Settled
    );
}

#[tokio::test]
async fn a_worker_that_was_stopped_for_longer_than_its_lease_is_refused() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let stopped = world.claim_one(worker(1)).await;
    world.advance(LEASE);
    let taken = world.claim_one(worker(2)).await;
    assert_eq!(
        world.settle(worker(1), &stopped, Outcome::Done).await,
        SettleReply::Lost
    );
    assert_eq!(
        world.settle(worker(2), &taken, again(1)).await,
        SettleReply::Settled
    );
    assert_eq!(
        world.settle(worker(1), &stopped, Outcome::Done).await,
        SettleReply::Lost
    );
    assert_eq!(world.due(resource(1)).await, Some(31_000));
}

#[tokio::test]
async fn an_expired_lease_that_nobody_took_over_still_settles() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    world.advance(LEASE * 10);
    assert_eq!(
        world.settle(worker(1), &claim, again(1)).await,
        SettleReply::Settled
    );
    assert_eq!(world.claim(worker(2), 10).await, []);
}

#[tokio::test]
async fn a_member_woken_in_its_turn_is_due_at_once_whatever_the_turn_wished() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0), (resource(2), 0)]).await;
    let claims = world.claim(worker(1), 2).await;
    for claim in &claims {
        world.queue().wake(SHARD.ring, claim.member).await.unwrap();
    }
    world.advance(Duration::from_secs(1));
    assert_eq!(
        world.settle(worker(1), &claims[0], again(60)).await,
        SettleReply::Woken
    );
    assert_eq!(
        world.settle(worker(1), &claims[1], Outcome::Done).await,
        SettleReply::Woken
    );
    assert_eq!(world.due(claims[0].member).await, Some(1000));
    assert_eq!(world.due(claims[1].member).await, Some(1000));
    let again_claimed = world.claim(worker(1), 2).await;
    assert_eq!(again_claimed.len(), 2);
    let reply = world.settle(worker(1), &again_claimed[0], again(60)).await;
    assert_eq!(reply, SettleReply::Settled, "the mark is used up");
}

#[tokio::test]
async fn more_than_a_batch_is_settled_in_order() {
    let world = World::new().await;
    let members: Vec<_> = (0..1200).map(|number| (resource(number), 0)).collect();
    world.enter(&members).await;
    let mut settlements = vec![];
    for _ in 0..3 {
        for claim in world.claim(worker(1), 500).await {
            let outcome = if settlements.len() % 2 == 0 {
                again(1)
            } else {
                Outcome::Done
            };
            settlements.push(Settlement {
                member: claim.member,
                token: claim.token,
                outcome,
            });
        }
    }
    assert_eq!(settlements.len(), 1200);
    settlements[700].token.counter += 1;
    let replies = world
        .queue()
        .settle(SHARD, &settlements, worker(1))
        .await
        .unwrap();
    let lost: Vec<_> = (0..1200)
        .filter(|&index| replies[index] == SettleReply::Lost)
        .collect();
    assert_eq!(lost, [700]);
    let stats = world.queue().stats(SHARD).await.unwrap();
    assert_eq!((stats.size, stats.leased), (600, 1));
}

#[tokio::test]
async fn without_injected_time_the_delay_counts_from_redis_time() {
    let world = World::new().await;
    let queue = world.real();
    queue
        .enter(SHARD.ring, &[(resource(1), Duration::ZERO)])
        .await
        .unwrap();
    let reply = queue.claim(SHARD, 1, LEASE, worker(1)).await.unwrap();
    let shared::queue::ClaimReply::Claims { claims, .. } = reply else {
        panic!("there is a ring");
    };
    let before: (i64, i64) = world.raw(&["TIME"]).await;
    let settlement = Settlement {
        member: resource(1),
        token: claims[0].token,
        outcome: again(100),
    };
    queue.settle(SHARD, &[settlement], worker(1)).await.unwrap();
    let due: i64 = world
        .raw(&["ZSCORE", &queue.keys(SHARD).due, &resource(1).to_string()])
        .await;
    let least = before.0 * 1000 + before.1 / 1000 + 100_000;
    assert!((least..least + 60_000).contains(&due), "{due} and {least}");
}
