use std::time::Duration;

use shared::queue::{Outcome, SettleReply, Token};

use super::world::{LEASE, SHARD, World, again, resource, worker};

#[tokio::test]
async fn a_held_lease_holds_longer_from_now() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    world.advance(Duration::from_secs(20));
    let held = [(claim.member, claim.token)];
    assert_eq!(
        world
            .queue()
            .extend(SHARD, &held, LEASE, worker(1))
            .await
            .unwrap(),
        [true]
    );
    assert_eq!(world.lease(resource(1)).await, Some(50_000));
    world.advance(Duration::from_secs(29));
    assert_eq!(world.claim(worker(2), 10).await, []);
    assert_eq!(
        world.settle(worker(1), &claim, again(1)).await,
        SettleReply::Settled
    );
}

#[tokio::test]
async fn nothing_to_extend_is_extended() {
    let world = World::new().await;
    let held = world
        .queue()
        .extend(SHARD, &[], LEASE, worker(1))
        .await
        .unwrap();
    assert_eq!(held, Vec::<bool>::new());
}

#[tokio::test]
async fn an_expired_lease_is_held_again_unless_it_was_taken_over() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0), (resource(2), 0)]).await;
    let claims = world.claim(worker(1), 2).await;
    world.advance(LEASE);
    let taken = world.claim(worker(2), 1).await[0];
    let held: Vec<_> = claims
        .iter()
        .map(|claim| (claim.member, claim.token))
        .collect();

    let still_held = world
        .queue()
        .extend(SHARD, &held, LEASE, worker(1))
        .await
        .unwrap();

    let expected: Vec<_> = claims
        .iter()
        .map(|claim| claim.member != taken.member)
        .collect();
    assert_eq!(still_held, expected);
    assert_eq!(
        world.lease(taken.member).await,
        Some(60_000),
        "the taker's lease is its own"
    );
    assert_eq!(world.claim(worker(3), 10).await, []);
}

#[tokio::test]
async fn a_wrong_token_or_a_wrong_worker_extends_nothing() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    world.advance(Duration::from_secs(5));
    let wrong = Token {
        counter: claim.token.counter + 1,
        ..claim.token
    };
    for (token, id) in [(wrong, 1), (claim.token, 2)] {
        let held = [(claim.member, token), (resource(7), token)];
        let still_held = world
            .queue()
            .extend(SHARD, &held, LEASE, worker(id))
            .await
            .unwrap();
        assert_eq!(still_held, [false, false]);
    }
    assert_eq!(world.lease(resource(1)).await, Some(30_000));
    assert_eq!(world.lease(resource(7)).await, None);
}

#[tokio::test]
async fn a_settled_lease_is_not_revived() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0), (resource(2), 0)]).await;
    let claims = world.claim(worker(1), 2).await;
    world.settle(worker(1), &claims[0], again(60)).await;
    world.settle(worker(1), &claims[1], Outcome::Done).await;
    let held: Vec<_> = claims
        .iter()
        .map(|claim| (claim.member, claim.token))
        .collect();
    let still_held = world
        .queue()
        .extend(SHARD, &held, LEASE, worker(1))
        .await
        .unwrap();
    assert_eq!(still_held, [false, false]);
    assert_eq!(world.lease(claims[0].member).await, None);
}

#[tokio::test]
async fn a_mark_stays_and_running_twice_does_no_harm() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let claim = world.claim_one(worker(1)).await;
    world.queue().wake(SHARD.ring, resource(1)).await.unwrap();
    for _ in 0..2 {
        let held = [(claim.member, claim.token)];
        assert_eq!(
            world
                .queue()
                .extend(SHARD, &held, LEASE, worker(1))
                .await
                .unwrap(),
            [true]
        );
    }
    assert_eq!(
        world.settle(worker(1), &claim, again(60)).await,
        SettleReply::Woken
    );
}

#[tokio::test]
async fn more_than_a_batch_is_extended() {
    let mut world = World::new().await;
    let members: Vec<_> = (0..501).map(|number| (resource(number), 0)).collect();
    world.enter(&members).await;
    let mut claims = world.claim(worker(1), 500).await;
    claims.extend(world.claim(worker(1), 500).await);
    world.advance(Duration::from_secs(1));
    let held: Vec<_> = claims
        .iter()
        .map(|claim| (claim.member, claim.token))
        .collect();
    let still_held = world
        .queue()
        .extend(SHARD, &held, LEASE, worker(1))
        .await
        .unwrap();
    assert_eq!(still_held, vec![true; 501]);
    assert_eq!(world.lease(claims[500].member).await, Some(31_000));
}
