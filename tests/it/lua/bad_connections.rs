//! Redis is away, slow, hanging, or speaks of something else: an error at most, and never for good.

use std::time::Duration;

use futures::future::join_all;
use shared::queue::{
    ClaimReply, EnterReply, Queue, QueueConfig, QueueError, SettleReply, WakeReply,
};
use tests::redis_server::{RedisServer, free_port, slow_relay};
use tokio::time::{Instant, timeout};

use super::world::{LEASE, SHARD, World, again, resource, worker};

/// Asks until Redis answers; any failure on the way must be one that passes by.
async fn once_it_answers(queue: &Queue) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = queue.stats(SHARD).await {
        assert!(
            error.is_transient() && Instant::now() < deadline,
            "{error:?}"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_redis_every_verb_is_a_passing_error() {
    let url = format!("redis://127.0.0.1:{}/", free_port().unwrap());
    let queue = Queue::connect(QueueConfig::single(url).unwrap())
        .await
        .unwrap();
    for _ in 0..200 {
        let error = queue.claim(SHARD, 1, LEASE, worker(1)).await.unwrap_err();
        assert!(matches!(error, QueueError::Unreachable { .. }), "{error:?}");
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn callers_of_a_redis_that_does_not_answer_wait_together_and_not_in_turn() {
    let world = World::new().await;
    world.server.pause().unwrap();
    let config = QueueConfig::single(world.server.url()).unwrap();
    let config = config.with_connect_timeout(Duration::from_secs(1)).unwrap();
    let queue = Queue::connect(config).await.unwrap();
    let calls = (0..200).map(|_| queue.stats(SHARD));
    let answers = timeout(Duration::from_mins(1), join_all(calls)).await;
    for answer in answers.expect("200 attempts of a second each were not made") {
        assert!(answer.unwrap_err().is_transient());
    }
    world.server.resume().unwrap();
}

#[tokio::test]
async fn redis_may_start_after_us() {
    let mut server = RedisServer::start().await.unwrap();
    server.kill().unwrap();
    let queue = Queue::connect(QueueConfig::single(server.url()).unwrap())
        .await
        .unwrap();
    assert!(queue.begin(SHARD, 1).await.unwrap_err().is_transient());
    server.restart_empty().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = queue.begin(SHARD, 1).await {
        assert!(
            error.is_transient() && Instant::now() < deadline,
            "{error:?}"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn answers_that_take_800_ms_are_waited_for() {
    let world = World::new().await;
    let relay = slow_relay(world.server.port(), Duration::from_millis(800))
        .await
        .unwrap();
    let url = format!("redis://127.0.0.1:{}/", relay.port);
    let config = QueueConfig::single(url).unwrap().with_shards(1).unwrap();
    let queue = Queue::connect(config).await.unwrap();

    let entered = queue
        .enter(SHARD.ring, &[(resource(1), Duration::ZERO)])
        .await
        .unwrap();
    assert_eq!(
        entered,
        EnterReply {
            entered: 1,
            present: 0
        }
    );
    let reply = queue.claim(SHARD, 1, LEASE, worker(1)).await.unwrap();
    let ClaimReply::Claims { claims, .. } = reply else {
        panic!("there is a ring");
    };
    assert_eq!(claims.len(), 1);
}

#[tokio::test]
async fn a_hanging_redis_is_given_up_and_its_connection_made_anew() {
    let world = World::new().await;
    let config = QueueConfig::single(world.server.url())
        .unwrap()
        .with_shards(1)
        .unwrap()
        .with_response_timeout(Duration::from_millis(300))
        .unwrap()
        .with_connect_timeout(Duration::from_millis(300))
        .unwrap();
    let queue = Queue::connect(config).await.unwrap();
    once_it_answers(&queue).await;

    world.server.pause().unwrap();
    let error = queue.stats(SHARD).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let error = queue.stats(SHARD).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");

    world.server.resume().unwrap();
    once_it_answers(&queue).await;
}

#[tokio::test]
async fn a_redis_that_forgot_the_scripts_is_told_them_again() {
    let world = World::new().await;
    let queue = world.real();
    assert_eq!(
        queue.wake(SHARD.ring, resource(1)).await.unwrap(),
        WakeReply::Entered
    );
    let () = world.raw(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(
        queue.wake(SHARD.ring, resource(1)).await.unwrap(),
        WakeReply::Due
    );
}

#[tokio::test]
async fn killed_connections_are_made_anew() {
    let world = World::new().await;
    for _ in 0..3 {
        let () = world
            .raw(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
        once_it_answers(world.real()).await;
    }
}

#[tokio::test]
async fn an_error_inside_a_script_is_an_error_and_the_connection_stays() {
    let world = World::new().await;
    let () = world
        .raw(&["SET", &world.queue().keys(SHARD).due, "not a sorted set"])
        .await;
    let error = world.queue().stats(SHARD).await.unwrap_err();
    assert!(
        matches!(error, QueueError::Redis { verb: "stats", .. }),
        "{error:?}"
    );
    assert!(!error.is_transient());
    let () = world.raw(&["DEL", &world.queue().keys(SHARD).due]).await;
    world.queue().stats(SHARD).await.unwrap();
}

#[tokio::test]
async fn a_full_redis_takes_nothing_in_but_goes_on_with_what_it_has() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    let () = world.raw(&["CONFIG", "SET", "maxmemory", "1"]).await;

    let woken = world.queue().wake(SHARD.ring, resource(2)).await;
    let entered = world
        .queue()
        .enter(SHARD.ring, &[(resource(3), Duration::ZERO)])
        .await;
    assert!(woken.unwrap_err().is_transient());
    assert!(entered.unwrap_err().is_transient());
    let claim = world.claim_one(worker(1)).await;
    assert_eq!(
        world.settle(worker(1), &claim, again(1)).await,
        SettleReply::Settled
    );

    let () = world.raw(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(
        world.queue().stats(SHARD).await.unwrap().size,
        1,
        "nothing is half done"
    );
    assert_eq!(world.due(resource(1)).await, Some(1000));
}
