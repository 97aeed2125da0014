use std::time::Duration;

use super::world::{SHARD, World, worker};

#[tokio::test]
async fn a_silent_worker_is_forgotten_by_the_next_heartbeat() {
    let mut world = World::new().await;
    let ttl = Duration::from_secs(10);
    world
        .queue()
        .heartbeat(SHARD.ring, worker(1), ttl)
        .await
        .unwrap();
    world.advance(ttl);
    world
        .queue()
        .heartbeat(SHARD.ring, worker(2), ttl)
        .await
        .unwrap();
    let kept: u64 = world
        .raw(&["ZCARD", "{ringmaster:workers:ring}:alive"])
        .await;
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn run_twice_a_worker_counts_once_and_for_longer() {
    let mut world = World::new().await;
    let ttl = Duration::from_secs(10);
    world
        .queue()
        .heartbeat(SHARD.ring, worker(1), ttl)
        .await
        .unwrap();
    world.advance(Duration::from_secs(9));
    world
        .queue()
        .heartbeat(SHARD.ring, worker(1), ttl)
        .await
        .unwrap();
    world.advance(Duration::from_secs(9));
    assert_eq!(
        world.queue().live_workers(SHARD.ring).await.unwrap(),
        [worker(1)]
    );
}

#[tokio::test]
async fn a_worker_that_retires_is_gone_at_once_even_twice() {
    let world = World::new().await;
    world
        .queue()
        .heartbeat(SHARD.ring, worker(1), Duration::from_secs(10))
        .await
        .unwrap();
    world
        .queue()
        .heartbeat(SHARD.ring, worker(2), Duration::from_secs(10))
        .await
        .unwrap();
    for _ in 0..2 {
        world
            .queue()
            .retire_worker(SHARD.ring, worker(1))
            .await
            .unwrap();
        assert_eq!(
            world.queue().live_workers(SHARD.ring).await.unwrap(),
            [worker(2)]
        );
    }
}

#[tokio::test]
async fn a_heartbeat_of_no_length_is_no_retirement() {
    let world = World::new().await;
    world
        .queue()
        .heartbeat(SHARD.ring, worker(1), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(
        world.queue().live_workers(SHARD.ring).await.unwrap(),
        [worker(1)]
    );
}

#[tokio::test]
async fn at_most_a_thousand_dead_are_forgotten_at_once() {
    let mut world = World::new().await;
    let mut words = vec![
        "ZADD".to_owned(),
        "{ringmaster:workers:ring}:alive".to_owned(),
    ];
    for number in 0..1500 {
        words.extend(["1".to_owned(), worker(number).to_string()]);
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let () = world.raw(&words).await;
    world.advance(Duration::from_secs(1));
    for left in [501_u64, 1] {
        world
            .queue()
            .heartbeat(SHARD.ring, worker(9999), Duration::from_secs(10))
            .await
            .unwrap();
        let kept: u64 = world
            .raw(&["ZCARD", "{ringmaster:workers:ring}:alive"])
            .await;
        assert_eq!(kept, left);
    }
}
