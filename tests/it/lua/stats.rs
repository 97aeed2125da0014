use std::time::Duration;

use shared::queue::ShardStats;

use super::world::{LEASE, SHARD, World, resource, worker};

#[tokio::test]
async fn an_empty_shard_counts_nothing() {
    let world = World::without_ring().await;
    let empty = ShardStats {
        epoch: None,
        size: 0,
        due: 0,
        leased: 0,
        expired: 0,
        oldest_due_age: Duration::ZERO,
    };
    assert_eq!(world.queue().stats(SHARD).await.unwrap(), empty);
}

#[tokio::test]
async fn every_member_is_counted_where_it_is_and_nothing_changes() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 0), (resource(2), 0)]).await;
    world.claim(worker(1), 2).await;
    world.advance(LEASE);
    world.claim(worker(2), 1).await;
    world
        .enter(&[(resource(3), 1), (resource(4), 2), (resource(5), 60)])
        .await;
    world.advance(Duration::from_secs(3));
    let expected = ShardStats {
        epoch: Some(1),
        size: 5,
        due: 2,
        leased: 2,
        expired: 1,
        oldest_due_age: Duration::from_secs(2),
    };
    assert_eq!(world.queue().stats(SHARD).await.unwrap(), expected);
    assert_eq!(world.queue().stats(SHARD).await.unwrap(), expected);
}

#[tokio::test]
async fn what_is_due_later_has_no_age() {
    let world = World::new().await;
    world.enter(&[(resource(1), 10)]).await;
    let stats = world.queue().stats(SHARD).await.unwrap();
    assert_eq!((stats.due, stats.oldest_due_age), (0, Duration::ZERO));
}
