use std::time::Duration;

use shared::queue::Ring;

use super::world::{SHARD, World, worker};

#[tokio::test]
async fn nobody_lives_in_an_empty_redis() {
    let world = World::new().await;
    assert_eq!(world.queue().live_workers(SHARD.ring).await.unwrap(), []);
}

#[tokio::test]
async fn workers_live_for_their_ttl_and_are_listed_by_id() {
    let mut world = World::new().await;
    let queue = world.queue();
    queue
        .heartbeat(SHARD.ring, worker(3), Duration::from_secs(5))
        .await
        .unwrap();
    queue
        .heartbeat(SHARD.ring, worker(1), Duration::from_secs(10))
        .await
        .unwrap();
    queue
        .heartbeat(SHARD.ring, worker(2), Duration::from_secs(15))
        .await
        .unwrap();
    assert_eq!(
        queue.live_workers(SHARD.ring).await.unwrap(),
        [worker(1), worker(2), worker(3)]
    );
    world.advance(Duration::from_millis(4999));
    assert_eq!(
        world.queue().live_workers(SHARD.ring).await.unwrap().len(),
        3
    );
    world.advance(Duration::from_millis(1));
    assert_eq!(
        world.queue().live_workers(SHARD.ring).await.unwrap(),
        [worker(1), worker(2)]
    );
    world.advance(Duration::from_secs(10));
    assert_eq!(world.queue().live_workers(SHARD.ring).await.unwrap(), []);
}

#[tokio::test]
async fn at_most_a_thousand_are_listed() {
    let world = World::new().await;
    let mut words = vec![
        "ZADD".to_owned(),
        "{ringmaster:workers:ring}:alive".to_owned(),
    ];
    for number in 0..1001 {
        words.extend(["9999999999999".to_owned(), worker(number).to_string()]);
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let () = world.raw(&words).await;
    assert_eq!(
        world.queue().live_workers(SHARD.ring).await.unwrap().len(),
        1000
    );
}

#[tokio::test]
async fn without_injected_time_redis_tells_it() {
    let world = World::new().await;
    world
        .real()
        .heartbeat(SHARD.ring, worker(1), Duration::from_hours(1))
        .await
        .unwrap();
    assert_eq!(
        world.real().live_workers(SHARD.ring).await.unwrap(),
        [worker(1)]
    );
}

#[tokio::test]
async fn a_worker_lives_in_the_rings_that_it_serves() {
    let world = World::new().await;
    let queue = world.queue();
    let ttl = Duration::from_secs(10);
    queue.heartbeat(Ring::Urgent, worker(1), ttl).await.unwrap();
    queue.heartbeat(Ring::Jobs, worker(1), ttl).await.unwrap();
    queue.heartbeat(Ring::Jobs, worker(2), ttl).await.unwrap();
    queue.retire_worker(Ring::Jobs, worker(1)).await.unwrap();
    assert_eq!(queue.live_workers(Ring::Urgent).await.unwrap(), [worker(1)]);
    assert_eq!(queue.live_workers(Ring::Ring).await.unwrap(), []);
    assert_eq!(queue.live_workers(Ring::Jobs).await.unwrap(), [worker(2)]);
}
