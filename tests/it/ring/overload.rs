//! More due at once than can be turned at once.

use std::collections::BTreeMap;
use std::iter::repeat_n;
use std::time::Duration;

use shared::queue::{Member, Ring};
use workers::ring::Settings;

use super::world::{Entry, LATER, World, again, quick, until};

#[tokio::test(flavor = "multi_thread")]
async fn thousands_due_at_once_are_each_turned_once() {
    let world = World::with(Ring::Ring, 8_500).await;
    let worker = world.worker(quick(Ring::Ring), |_| again(LATER));
    world.until_turned(8_500, 1).await;
    worker.shut_down().await;
    let more_than_once: BTreeMap<Member, Entry> = world
        .book
        .all()
        .into_iter()
        .filter(|(_, entry)| entry.begun != 1)
        .collect();
    assert_eq!(more_than_once, BTreeMap::new());
    let stats = world.stats(Ring::Ring).await;
    assert_eq!((stats.size, stats.leased, stats.due), (8_500, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_in_the_ring_does_not_starve_what_is_urgent() {
    let flood = repeat_n((Ring::Ring, Duration::ZERO), 3_000);
    let urgent = repeat_n((Ring::Urgent, Duration::ZERO), 10);
    let world = World::with_rows(flood.chain(urgent)).await;
    let settings = Settings {
        rings: vec![Ring::Urgent, Ring::Ring],
        in_flight: 8,
        ..quick(Ring::Ring)
    };
    // The flood never ebbs: each of its turns takes 2 ms, eight at a time, and is due at once.
    let worker = world.worker(settings, |turn| async move {
        if turn.claim().shard.ring == Ring::Urgent {
            return again(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        again(Duration::ZERO).await
    });
    let urgent: Vec<Member> = world.members()[..10].to_vec();
    until("the urgent members go round", async || {
        urgent
            .iter()
            .all(|member| world.book.of(*member).ended >= 20)
    })
    .await;
    assert!(
        world.stats(Ring::Ring).await.due > 1_000,
        "the flood still waits"
    );
    worker.shut_down().await;
}
