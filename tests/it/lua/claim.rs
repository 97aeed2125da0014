use std::time::Duration;

use shared::queue::{ClaimReply, Token};

use super::world::{LEASE, SHARD, START, World, again, resource, worker};

#[tokio::test]
async fn due_members_are_leased_the_longest_overdue_first() {
    let mut world = World::new().await;
    world
        .enter(&[(resource(1), 3), (resource(2), 1), (resource(3), 60)])
        .await;
    world.advance(Duration::from_secs(5));

    let (claims, next_due) = world.claim_and_wait(worker(1), 10).await;

    let seen: Vec<_> = claims
        .iter()
        .map(|claim| (claim.member, claim.overdue_ms))
        .collect();
    assert_eq!(seen, [(resource(2), 4000), (resource(1), 2000)]);
    assert!(claims.iter().all(|claim| claim.shard == SHARD));
    assert_eq!(
        next_due,
        Some(LEASE),
        "the leases expire before the third is due"
    );
    assert_eq!(world.due(resource(1)).await, None);
    assert_eq!(world.lease(resource(1)).await, Some(35_000));
    assert_eq!(
        world.owner(resource(2)).await,
        Some(format!("{} {}", claims[0].token, worker(1)))
    );
    assert_eq!(world.owner(resource(3)).await, None);
}

#[tokio::test]
async fn an_empty_shard_gives_nothing_and_nothing_to_wait_for() {
    let world = World::new().await;
    assert_eq!(world.claim_and_wait(worker(1), 10).await, (vec![], None));
}

#[tokio::test]
async fn a_shard_without_epoch_says_so_and_keeps_its_members() {
    let world = World::without_ring().await;
    world.enter(&[(resource(1), 0)]).await;
    let reply = world
        .queue()
        .claim(SHARD, 10, LEASE, worker(1))
        .await
        .unwrap();
    assert_eq!(reply, ClaimReply::NoRing);
    world.queue().begin(SHARD, 1).await.unwrap();
    assert_eq!(world.claim_one(worker(1)).await.member, resource(1));
}

#[tokio::test]
async fn what_is_not_due_is_waited_for() {
    let world = World::new().await;
    world.enter(&[(resource(1), 7)]).await;
    let wait = Some(Duration::from_secs(7));
    assert_eq!(world.claim_and_wait(worker(1), 10).await, (vec![], wait));
}

#[tokio::test]
async fn the_limit_is_kept_and_the_rest_is_due_at_once() {
    let world = World::new().await;
    let members: Vec<_> = (0..7).map(|number| (resource(number), 0)).collect();
    world.enter(&members).await;
    let (first, wait) = world.claim_and_wait(worker(1), 5).await;
    assert_eq!((first.len(), wait), (5, Some(Duration::ZERO)));
    let (second, wait) = world.claim_and_wait(worker(2), 5).await;
    assert_eq!((second.len(), wait), (2, Some(LEASE)));
    assert!(
        first
            .iter()
            .all(|one| second.iter().all(|other| one.member != other.member))
    );
}

#[tokio::test]
async fn the_largest_batch_is_five_hundred() {
    let world = World::new().await;
    let members: Vec<_> = (0..1100).map(|number| (resource(number), 0)).collect();
    world.enter(&members).await;
    assert_eq!(world.claim(worker(1), u16::MAX).await.len(), 500);
    assert_eq!(world.claim(worker(1), 500).await.len(), 500);
    assert_eq!(
        world.claim(worker(1), 0).await.len(),
        1,
        "a limit of 0 counts as 1"
    );
    assert_eq!(world.claim(worker(1), 500).await.len(), 99);
}

#[tokio::test]
async fn run_twice_it_gives_nothing_twice() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    assert_eq!(world.claim(worker(1), 10).await.len(), 1);
    assert_eq!(world.claim(worker(1), 10).await, []);
    assert_eq!(world.claim(worker(2), 10).await, []);
}

#[tokio::test]
async fn an_expired_lease_is_taken_over_before_what_is_due() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let first = world.claim_one(worker(1)).await;
    world.enter(&[(resource(2), 0)]).await;
    world.advance(Duration::from_millis(29_999));
    assert_eq!(world.claim_one(worker(2)).await.member, resource(2));
    world.advance(Duration::from_millis(3));

    let taken = world.claim_one(worker(2)).await;

    assert_eq!((taken.member, taken.overdue_ms), (resource(1), 2));
    assert!(taken.token > first.token);
    assert_eq!(
        world.owner(resource(1)).await,
        Some(format!("{} {}", taken.token, worker(2)))
    );
}

#[tokio::test]
async fn a_lease_that_is_taken_over_drops_its_mark_for_the_turn_begins_now() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    world.claim_one(worker(1)).await;
    world.queue().wake(SHARD.ring, resource(1)).await.unwrap();
    world.advance(LEASE);
    let taken = world.claim_one(worker(2)).await;
    let reply = world.settle(worker(2), &taken, again(60)).await;
    assert_eq!(reply, shared::queue::SettleReply::Settled);
}

#[tokio::test]
async fn tokens_grow_even_when_the_clock_goes_back() {
    let world = World::new().await;
    let mut last = Token {
        epoch: 0,
        counter: 0,
    };
    for now in [
        START,
        START,
        START + 5,
        START - 60_000,
        START - 60_000,
        START + 6,
    ] {
        let queue = world.real().at(now);
        queue
            .enter(SHARD.ring, &[(resource(1), Duration::ZERO)])
            .await
            .unwrap();
        queue.wake(SHARD.ring, resource(1)).await.unwrap();
        let ClaimReply::Claims { claims, .. } =
            queue.claim(SHARD, 10, LEASE, worker(1)).await.unwrap()
        else {
            panic!("there is a ring");
        };
        assert!(claims[0].token > last, "{} after {last}", claims[0].token);
        assert!(claims[0].token.counter > now * 1000);
        last = claims[0].token;
        queue.leave(SHARD.ring, resource(1)).await.unwrap();
    }
}

#[tokio::test]
async fn without_injected_time_redis_tells_it() {
    let world = World::new().await;
    let queue = world.real();
    let later = (resource(2), Duration::from_hours(1));
    queue
        .enter(SHARD.ring, &[(resource(1), Duration::ZERO), later])
        .await
        .unwrap();
    let time: (u64, u64) = world.raw(&["TIME"]).await;

    let ClaimReply::Claims { claims, next_due } =
        queue.claim(SHARD, 10, LEASE, worker(1)).await.unwrap()
    else {
        panic!("there is a ring");
    };

    assert_eq!(claims.len(), 1);
    assert!(
        claims[0].token.counter >= (time.0 - 1) * 1_000_000,
        "{}",
        claims[0].token
    );
    assert!(next_due.is_some_and(|wait| wait <= LEASE));
}

#[tokio::test]
async fn an_unreadable_member_is_left_out_and_the_others_keep_their_tokens() {
    let world = World::new().await;
    let keys = world.queue().keys(SHARD);
    world.enter(&[(resource(1), 0)]).await;
    let () = world
        .raw(&["ZADD", &keys.due, "0", "disk:of-a-later-release"])
        .await;
    let claim = world.claim_one(worker(1)).await;
    let owner = world.owner(resource(1)).await;
    assert_eq!(owner, Some(format!("{} {}", claim.token, worker(1))));
}
