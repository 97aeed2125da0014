//! Redis that is emptied, restarted, rolled back, away, or slow.

use std::sync::Arc;
use std::time::Duration;

use shared::ids::WorkerId;
use shared::queue::{Claim, ClaimReply, Outcome, Ring, SettleReply, Settlement};
use tests::tcp_proxy::TcpProxy;
use tokio::sync::Semaphore;
use workers::ring::Settings;

use super::world::{LATER, RunningWorker, World, again, connect, quick, until};

const MEMBERS: usize = 40;

/// A world with a running worker that turns all members every few milliseconds.
async fn busy_world() -> (World, RunningWorker) {
    let world = World::with(Ring::Ring, MEMBERS).await;
    // What a copy of Redis shows as leased is taken over after the lease.
    let settings = Settings {
        lease: Duration::from_secs(3),
        ..quick(Ring::Ring)
    };
    let worker = world.worker(settings, |_| again(Duration::from_millis(5)));
    world.until_turned(MEMBERS, 2).await;
    (world, worker)
}

/// Claims something as another worker would, to settle it late.
async fn claim_one(world: &World, worker: WorkerId) -> Claim {
    let mut claimed = None;
    until("something could be claimed", async || {
        for shard in world.queue.shards(Ring::Ring) {
            let reply = world.queue.claim(shard, 1, LATER, worker).await;
            if let Ok(ClaimReply::Claims { claims, .. }) = reply {
                claimed = claims.first().copied().or(claimed);
            }
        }
        claimed.is_some()
    })
    .await;
    claimed.unwrap()
}

async fn settle(world: &World, claim: Claim, worker: WorkerId) -> SettleReply {
    let Claim {
        member,
        token,
        shard,
        ..
    } = claim;
    let settlement = Settlement {
        member,
        token,
        outcome: Outcome::Done,
    };
    world
        .queue
        .settle(shard, &[settlement], worker)
        .await
        .unwrap()[0]
}

/// Every member goes round again, once each, and none is missing.
async fn goes_on(world: &World, worker: RunningWorker) {
    world.book.clear();
    world.until_turned(MEMBERS, 3).await;
    assert_eq!(world.book.overlaps(), 0);
    worker.shut_down().await;
    let stats = world.stats(Ring::Ring).await;
    assert_eq!(
        (usize::try_from(stats.size).unwrap(), stats.leased),
        (MEMBERS, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_ring_is_rebuilt_and_a_settle_from_before_is_refused() {
    let (world, worker) = busy_world().await;
    let late = WorkerId::new();
    let claim = claim_one(&world, late).await;
    let epochs = world.roster.epochs_given();
    world.redis.flush().await.unwrap();
    until("the ring has a new epoch", async || {
        world
            .stats(Ring::Ring)
            .await
            .epoch
            .is_some_and(|epoch| epoch > epochs)
    })
    .await;
    assert_eq!(settle(&world, claim, late).await, SettleReply::Lost);
    goes_on(&world, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_under_way_during_a_flush_does_not_meet_a_second_one() {
    let world = World::with(Ring::Ring, 1).await;
    let gate = Arc::new(Semaphore::new(0));
    let worker = world.worker(quick(Ring::Ring), {
        let gate = Arc::clone(&gate);
        move |turn| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await?.forget();
                if turn.still_mine() {
                    again(LATER).await
                } else {
                    Err("lost".into())
                }
            }
        }
    });
    until("the turn begins", async || {
        world.book.of(world.member()).begun == 1
    })
    .await;
    world.redis.flush().await.unwrap();
    until("the member is claimed anew", async || {
        let stats = world.stats(Ring::Ring).await;
        stats.epoch == Some(2) && stats.leased == 1
    })
    .await;
    assert_eq!(
        world.book.of(world.member()).begun,
        1,
        "the first turn still runs"
    );
    gate.add_permits(2);
    until("it is turned under the new epoch", async || {
        world.book.of(world.member()).ended == 2
    })
    .await;
    worker.shut_down().await;
    let entry = world.book.of(world.member());
    assert_eq!(
        (entry.overlaps, entry.failures.len()),
        (0, 1),
        "the first was told that it lost"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_restarts_empty_is_filled_again() {
    let (mut world, worker) = busy_world().await;
    let late = WorkerId::new();
    let claim = claim_one(&world, late).await;
    world.redis.restart_empty().await.unwrap();
    until("the ring is rebuilt", async || {
        let mut epochs = Vec::new();
        for shard in world.queue.shards(Ring::Ring) {
            epochs.push(
                world
                    .queue
                    .stats(shard)
                    .await
                    .is_ok_and(|stats| stats.epoch.is_some()),
            );
        }
        epochs.into_iter().all(|built| built)
    })
    .await;
    assert_eq!(settle(&world, claim, late).await, SettleReply::Lost);
    goes_on(&world, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_rolled_back_to_a_copy_goes_on() {
    let (mut world, worker) = busy_world().await;
    let copy = world.redis.save_copy().await.unwrap();
    world.book.clear();
    world.until_turned(MEMBERS, 2).await;
    let late = WorkerId::new();
    let claim = claim_one(&world, late).await;
    world.redis.restart_from_copy(&copy).await.unwrap();
    until("Redis answers", async || {
        world.queue.live_workers(Ring::Ring).await.is_ok()
    })
    .await;
    assert_eq!(
        settle(&world, claim, late).await,
        SettleReply::Lost,
        "the copy knows no such lease"
    );
    goes_on(&world, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_redis_stops_nothing_for_good_and_outcomes_are_kept() {
    let world = World::with(Ring::Ring, MEMBERS).await;
    let mut proxy = TcpProxy::start(world.redis.port()).await.unwrap();
    let held = world.member();
    let gate = Arc::new(Semaphore::new(0));
    let queue = connect(&proxy.redis_url()).await;
    let worker = world.worker_on(queue.clone(), quick(Ring::Ring), {
        let gate = Arc::clone(&gate);
        move |turn| {
            let gate = Arc::clone(&gate);
            async move {
                if turn.member() == held {
                    gate.acquire().await?.forget();
                    return again(LATER).await;
                }
                again(Duration::from_millis(5)).await
            }
        }
    });
    until("all turn", async || {
        world.book.ended(2) == MEMBERS - 1 && world.book.of(held).running == 1
    })
    .await;

    proxy.close().await;
    until("the outage is felt", async || {
        queue.live_workers(Ring::Ring).await.is_err()
    })
    .await;
    gate.add_permits(1);
    until("the held turn ends", async || {
        world.book.of(held).ended == 1
    })
    .await;
    proxy.open().await.unwrap();
    world.book.clear();
    until("the others turn again", async || {
        world.book.ended(3) == MEMBERS - 1
    })
    .await;
    world
        .until_stats(Ring::Ring, |stats| stats.leased < 40)
        .await;
    worker.shut_down().await;
    assert_eq!(
        world.book.of(held).begun,
        0,
        "its outcome, later, reached Redis after the outage"
    );
    let stats = world.stats(Ring::Ring).await;
    assert_eq!(
        (usize::try_from(stats.size).unwrap(), stats.leased),
        (MEMBERS, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_minute_without_redis_ends_no_worker() {
    let world = World::with(Ring::Ring, MEMBERS).await;
    let mut proxy = TcpProxy::start(world.redis.port()).await.unwrap();
    let queue = connect(&proxy.redis_url()).await;
    let worker = world.worker_on(queue, quick(Ring::Ring), |_| {
        again(Duration::from_millis(5))
    });
    world.until_turned(MEMBERS, 2).await;
    proxy.close().await;
    // Not a wait for something to happen: the length of the outage is what is tried.
    tokio::time::sleep(Duration::from_secs(30)).await;
    proxy.open().await.unwrap();
    goes_on(&world, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_redis_only_slows_the_ring() {
    let world = World::with(Ring::Ring, MEMBERS).await;
    world.build(Ring::Ring).await;
    let proxy = TcpProxy::start(world.redis.port()).await.unwrap();
    proxy.set_delay(Duration::from_millis(800));
    let queue = connect(&proxy.redis_url()).await;
    let worker = world.worker_on(queue, quick(Ring::Ring), |_| {
        again(Duration::from_millis(100))
    });
    world.until_turned(MEMBERS, 3).await;
    worker.shut_down().await;
    assert_eq!(world.book.overlaps(), 0);
    let stats = world.stats(Ring::Ring).await;
    assert_eq!(
        (usize::try_from(stats.size).unwrap(), stats.leased),
        (MEMBERS, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_lease_ends_the_turn_and_its_member_is_turned_again() {
    let world = World::with(Ring::Ring, 1).await;
    let mut proxy = TcpProxy::start(world.redis.port()).await.unwrap();
    let queue = connect(&proxy.redis_url()).await;
    let settings = Settings {
        lease: Duration::from_secs(1),
        ..quick(Ring::Ring)
    };
    let worker = world.worker_on(queue, settings, |turn| async move {
        turn.lease().lost().await;
        assert!(!turn.still_mine());
        again(LATER).await
    });
    until("the turn begins", async || {
        world.book.of(world.member()).begun == 1
    })
    .await;
    proxy.close().await;
    until("the turn learns that it lost", async || {
        world.book.of(world.member()).ended == 1
    })
    .await;
    proxy.open().await.unwrap();
    until("it is turned again", async || {
        world.book.of(world.member()).begun == 2
    })
    .await;
    assert_eq!(world.book.overlaps(), 0);
    worker.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_shuts_down_while_redis_is_away() {
    let world = World::with(Ring::Ring, MEMBERS).await;
    let mut proxy = TcpProxy::start(world.redis.port()).await.unwrap();
    let queue = connect(&proxy.redis_url()).await;
    let settings = Settings {
        lease: Duration::from_secs(1),
        ..quick(Ring::Ring)
    };
    let worker = world.worker_on(queue, settings.clone(), |_| again(Duration::from_millis(5)));
    world.until_turned(MEMBERS, 2).await;
    proxy.close().await;
    worker.shut_down().await;
    let heir = world.worker(settings, |_| again(Duration::from_millis(5)));
    goes_on(&world, heir).await;
}
