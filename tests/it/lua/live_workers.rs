use std::time::Duration;

use super::world::{World, worker};

#[tokio::test]
async fn nobody_lives_in_an_empty_redis() {
    let world = World::new().await;
    assert_eq!(world.queue().live_workers().await.unwrap(), []);
}

#[tokio::test]
async fn workers_live_for_their_ttl_and_are_listed_by_id() {
    let mut world = World::new().await;
    let queue = world.queue();
    queue
        .heartbeat(worker(3), Duration::from_secs(5))
        .await
        .unwrap();
    queue
        .heartbeat(worker(1), Duration::from_secs(10))
        .await
        .unwrap();
    queue
        .heartbeat(worker(2), Duration::from_secs(15))
        .await
        .unwrap();
    assert_eq!(
        queue.live_workers().await.unwrap(),
        [worker(1), worker(2), worker(3)]
    );
    world.advance(Duration::from_millis(4999));
    assert_eq!(world.queue().live_workers().await.unwrap().len(), 3);
    world.advance(Duration::from_millis(1));
    assert_eq!(
        world.queue().live_workers().await.unwrap(),
        [worker(1), worker(2)]
    );
    world.advance(Duration::from_secs(10));
    assert_eq!(world.queue().live_workers().await.unwrap(), []);
}

#[tokio::test]
async fn at_most_a_thousand_are_listed() {
    let world = World::new().await;
    let mut words = vec!["ZADD".to_owned(), "{ringmaster:workers}:alive".to_owned()];
    for number in 0..1001 {
        words.extend(["9999999999999".to_owned(), worker(number).to_string()]);
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let () = world.raw(&words).await;
    assert_eq!(world.queue().live_workers().await.unwrap().len(), 1000);
}

#[tokio::test]
async fn without_injected_time_redis_tells_it() {
    let world = World::new().await;
    world
        .real()
        .heartbeat(worker(1), Duration::from_hours(1))
        .await
        .unwrap();
    assert_eq!(world.real().live_workers().await.unwrap(), [worker(1)]);
}
