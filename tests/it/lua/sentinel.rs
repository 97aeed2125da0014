//! The queue finds its Redis through Sentinel, and again after a failover.

use std::time::Duration;

use shared::queue::{
    Claim, ClaimReply, Outcome, Queue, QueueConfig, RedisAddress, SentinelAddress, SettleReply,
    Settlement,
};
use tests::redis_server::{RedisSentinel, RedisServer};
use tokio::time::{Instant, sleep, timeout};

use super::world::{LEASE, SHARD, again, resource, worker};

/// Longest wait for a failover, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A master with a replica, a Sentinel, and the queue with one claimed member.
struct Pair {
    master: RedisServer,
    replica: RedisServer,
    sentinel: RedisSentinel,
    queue: Queue,
    claim: Claim,
}

async fn pair() -> Pair {
    let master = RedisServer::start().await.unwrap();
    let port = master.port().to_string();
    let replica = RedisServer::start_with(&[
        "--replicaof",
        "127.0.0.1",
        &port,
        "--repl-diskless-sync-delay",
        "0",
    ])
    .await
    .unwrap();
    let sentinel = RedisSentinel::start(&master, "queue").await.unwrap();
    let address = SentinelAddress {
        sentinels: vec!["127.0.0.1:1".to_owned(), sentinel.address()],
        master: "queue".to_owned(),
        username: None,
        password: None,
        sentinel_password: None,
        database: 0,
    };
    let config = QueueConfig::new(RedisAddress::Sentinel(address)).unwrap();
    let config = config.with_shards(1).unwrap();
    let queue = Queue::connect(config).await.unwrap();

    queue.begin(SHARD, 1).await.unwrap();
    let members = [
        (resource(1), Duration::ZERO),
        (resource(2), Duration::from_hours(1)),
    ];
    queue.enter(SHARD.ring, &members).await.unwrap();
    let reply = queue.claim(SHARD, 1, LEASE * 100, worker(1)).await.unwrap();
    let ClaimReply::Claims { claims, .. } = reply else {
        panic!("there is a ring");
    };
    wait_until("the replica can be promoted", async || {
        sentinel.replicas_ready().await.unwrap() == 1
            && keys_of(&replica).await == keys_of(&master).await
    })
    .await;
    Pair {
        master,
        replica,
        sentinel,
        queue,
        claim: claims[0],
    }
}

async fn keys_of(server: &RedisServer) -> u64 {
    server.command(&["DBSIZE"]).await.unwrap()
}

async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The queue goes on with the replica's data, leases included.
async fn goes_on(pair: &Pair) {
    let Pair { queue, claim, .. } = pair;
    wait_until("the queue found the new master", async || {
        match queue.heartbeat(SHARD.ring, worker(1), LEASE).await {
            Ok(()) => true,
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                false
            }
        }
    })
    .await;
    let settlement = Settlement {
        member: claim.member,
        token: claim.token,
        outcome: again(3600),
    };
    let replies = queue.settle(SHARD, &[settlement], worker(1)).await.unwrap();
    assert_eq!(replies, [SettleReply::Settled]);
    assert_eq!(queue.stats(SHARD).await.unwrap().size, 2);
    queue.wake(SHARD.ring, resource(1)).await.unwrap();
    let reply = queue.claim(SHARD, 9, LEASE, worker(1)).await.unwrap();
    let ClaimReply::Claims { claims, .. } = reply else {
        panic!("there is a ring");
    };
    assert!(claims[0].token > claim.token);
    let settlement = Settlement {
        member: claim.member,
        token: claims[0].token,
        outcome: Outcome::Done,
    };
    queue.settle(SHARD, &[settlement], worker(1)).await.unwrap();
    let on_replica: Vec<String> = pair
        .replica
        .command(&["ZRANGE", &queue.keys(SHARD).due, "0", "-1"])
        .await
        .unwrap();
    assert_eq!(on_replica, [resource(2).to_string()]);
}

#[tokio::test]
async fn a_dead_master_is_replaced_and_the_queue_goes_on() {
    let mut pair = pair().await;
    pair.master.kill().unwrap();
    goes_on(&pair).await;
    assert_eq!(
        pair.sentinel.master_port().await.unwrap(),
        pair.replica.port()
    );
}

#[tokio::test]
async fn a_master_that_is_replaced_alive_is_left_and_wakes_are_heard_from_the_new_one() {
    let pair = pair().await;
    let mut wakes = pair.queue.subscribe_wakes().await;
    assert!(wakes.is_connected());
    let () = pair.sentinel.ask("FAILOVER").await.unwrap();
    wait_until("the replica is the master", async || {
        pair.sentinel.master_port().await.unwrap() == pair.replica.port()
    })
    .await;
    goes_on(&pair).await;
    let waking = async {
        loop {
            drop(pair.queue.wake(SHARD.ring, resource(2)).await);
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        heard = timeout(PATIENCE, wakes.next()) => assert_eq!(heard, Ok(SHARD)),
        () = waking => {}
    }
}

#[tokio::test]
async fn a_name_that_sentinel_does_not_know_is_a_passing_error() {
    let master = RedisServer::start().await.unwrap();
    let sentinel = RedisSentinel::start(&master, "queue").await.unwrap();
    let address = SentinelAddress {
        sentinels: vec![sentinel.address()],
        master: "another".to_owned(),
        username: None,
        password: None,
        sentinel_password: None,
        database: 0,
    };
    let config = QueueConfig::new(RedisAddress::Sentinel(address)).unwrap();
    let queue = Queue::connect(config).await.unwrap();
    let error = queue.stats(SHARD).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}
