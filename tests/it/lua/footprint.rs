//! What the queue takes in Redis: little for a member, nothing for a turn; and only keys that a
//! Redis Cluster could keep.

use std::time::Duration;

use shared::queue::{
    BeginReply, ClaimReply, LeaveReply, MembersCursor, Queue, QueueConfig, Ring, SettleReply,
    Settlement, WakeReply,
};
use tests::redis_server::RedisServer;

use super::world::{LEASE, SHARD, START, World, again, resource, worker};

const MEMBERS: u64 = 20_000;

/// Claims and settles every member once; each is due again a second later.
async fn lap(queue: &Queue) {
    let mut turned = 0;
    loop {
        let reply = queue.claim(SHARD, 500, LEASE, worker(1)).await.unwrap();
        let ClaimReply::Claims { claims, .. } = reply else {
            panic!("there is a ring");
        };
        if claims.is_empty() {
            break;
        }
        turned += claims.len();
        let settlements: Vec<_> = claims
            .iter()
            .map(|claim| Settlement {
                member: claim.member,
                token: claim.token,
                outcome: again(1),
            })
            .collect();
        queue.settle(SHARD, &settlements, worker(1)).await.unwrap();
    }
    assert_eq!(u64::try_from(turned).unwrap(), MEMBERS);
}

#[tokio::test]
async fn a_member_takes_less_than_200_bytes_and_a_turn_none() {
    let world = World::new().await;
    let queue = world.real().at(START);
    lap_nothing(&queue).await;
    let empty = world.server.data_bytes().await.unwrap();

    let members: Vec<_> = (0..MEMBERS)
        .map(|id| (resource(u128::from(id) << 64), Duration::ZERO))
        .collect();
    queue.enter(SHARD.ring, &members).await.unwrap();
    lap(&queue).await;
    let first = world.server.data_bytes().await.unwrap();
    for seconds in 1..=10 {
        lap(&world.real().at(START + 1000 * seconds)).await;
    }
    let last = world.server.data_bytes().await.unwrap();

    let each = first.saturating_sub(empty) / MEMBERS;
    assert!((50..=200).contains(&each), "{each} bytes a member");
    let growth = last.saturating_sub(first);
    assert!(
        growth * 50 <= first.saturating_sub(empty),
        "{growth} bytes in ten laps"
    );
}

/// Loads the scripts, so that they are not counted among the members.
async fn lap_nothing(queue: &Queue) {
    queue.claim(SHARD, 1, LEASE, worker(1)).await.unwrap();
    queue
        .enter(SHARD.ring, &[(resource(1), Duration::ZERO)])
        .await
        .unwrap();
    queue.leave(SHARD.ring, resource(1)).await.unwrap();
}

#[tokio::test]
async fn every_verb_touches_one_slot_of_a_cluster_only() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"])
        .await
        .unwrap();
    let () = server
        .command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .await
        .unwrap();
    let config = QueueConfig::single(server.url())
        .unwrap()
        .with_shards(16)
        .unwrap();
    let queue = Queue::connect(config).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = queue.stats(SHARD).await {
        assert!(
            error.is_transient() && tokio::time::Instant::now() < deadline,
            "{error:?}"
        );
        tokio::task::yield_now().await;
    }
    for number in 0..40 {
        let member = resource(number);
        let ring = Ring::ALL[usize::try_from(number % 4).unwrap()];
        let shard = queue.shard_of(ring, &member);
        if queue.stats(shard).await.unwrap().epoch.is_none() {
            assert_eq!(queue.begin(shard, 1).await.unwrap(), BeginReply::Begun);
        }
        queue
            .enter(ring, &[(member, Duration::from_hours(1))])
            .await
            .unwrap();
        assert_eq!(queue.wake(ring, member).await.unwrap(), WakeReply::Advanced);
        let reply = queue.claim(shard, 1, LEASE, worker(1)).await.unwrap();
        let ClaimReply::Claims { claims, .. } = reply else {
            panic!("there is a ring");
        };
        let held = [(member, claims[0].token)];
        assert_eq!(
            queue.extend(shard, &held, LEASE, worker(1)).await.unwrap(),
            [true]
        );
        let settlement = Settlement {
            member,
            token: claims[0].token,
            outcome: again(1),
        };
        let replies = queue.settle(shard, &[settlement], worker(1)).await.unwrap();
        assert_eq!(replies, [SettleReply::Settled]);
        queue.members(shard, MembersCursor::START).await.unwrap();
        assert_eq!(queue.leave(ring, member).await.unwrap(), LeaveReply::Left);
        queue.heartbeat(ring, worker(1), LEASE).await.unwrap();
        assert_eq!(queue.live_workers(ring).await.unwrap(), [worker(1)]);
    }
}
