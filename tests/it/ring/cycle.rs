//! Members go round: turned, settled, woken, failed, done, handed back.

use std::sync::Arc;
use std::time::Duration;

use shared::queue::{Outcome, Ring};
use tokio::sync::Semaphore;
use workers::ring::{FailureKind, Settings};

use super::monitor::{Monitor, script_hash};
use super::world::{LATER, World, again, quick, until};

#[tokio::test(flavor = "multi_thread")]
async fn members_are_turned_again_and_again_and_stay_in_the_ring() {
    let world = World::with(Ring::Ring, 50).await;
    let worker = world.worker(quick(Ring::Ring), |_| again(Duration::from_millis(5)));
    world.until_turned(50, 5).await;
    worker.shut_down().await;
    let stats = world.stats(Ring::Ring).await;
    assert_eq!((stats.size, stats.leased), (50, 0));
    assert_eq!(world.book.overlaps(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_leaves_nothing() {
    let world = World::with(Ring::Jobs, 30).await;
    let worker = world.worker(quick(Ring::Jobs), |_| async { Ok(Outcome::Done) });
    world.until_turned(30, 1).await;
    world.until_stats(Ring::Jobs, |stats| stats.size == 0).await;
    worker.shut_down().await;
    assert_eq!(world.book.ended(2), 0);
    let keys: Vec<String> = world.redis.command(&["KEYS", "*"]).await.unwrap();
    let of_members = |key: &String| {
        [":due", ":leased", ":owner"]
            .iter()
            .any(|end| key.ends_with(end))
    };
    assert_eq!(
        keys.into_iter().filter(of_members).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_woken_member_is_turned_without_waiting_for_a_poll() {
    let world = World::with_rows([(Ring::Ring, LATER)]).await;
    let settings = Settings {
        poll_cap: LATER,
        ..quick(Ring::Ring)
    };
    let worker = world.worker(settings, |_| again(LATER));
    until("the ring is built", async || {
        world.stats(Ring::Ring).await.epoch.is_some()
    })
    .await;
    for turns in 1..=3 {
        // The subscription may not stand yet when the first wake is sent.
        until("the member is turned", async || {
            world.queue.wake(Ring::Ring, world.member()).await.unwrap();
            world.book.of(world.member()).ended >= turns
        })
        .await;
    }
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_woken_during_its_turn_is_turned_again_even_if_it_is_done() {
    let world = World::with(Ring::Jobs, 1).await;
    let gate = Arc::new(Semaphore::new(0));
    let worker = world.worker(quick(Ring::Jobs), {
        let gate = Arc::clone(&gate);
        move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await?.forget();
                Ok(Outcome::Done)
            }
        }
    });
    until("the turn begins", async || {
        world.book.of(world.member()).begun == 1
    })
    .await;
    world.queue.wake(Ring::Jobs, world.member()).await.unwrap();
    gate.add_permits(1);
    until("the second turn begins", async || {
        world.book.of(world.member()).begun == 2
    })
    .await;
    gate.add_permits(1);
    world.until_stats(Ring::Jobs, |stats| stats.size == 0).await;
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_fails_panics_or_hangs_comes_back_and_harms_no_other() {
    let world = World::with(Ring::Ring, 4).await;
    let members = world.members();
    let (fails, panics, hangs) = (members[0], members[1], members[2]);
    let settings = Settings {
        turn_timeout: Duration::from_millis(50),
        ..quick(Ring::Ring)
    };
    let worker = world.worker(settings, move |turn| async move {
        match turn.member() {
            member if member == fails => Err("no answer".into()),
            member if member == panics => panic!("a bug"),
            member if member == hangs => std::future::pending().await,
            _ => again(Duration::from_millis(5)).await,
        }
    });
    until("each has failed thrice", async || {
        [fails, panics, hangs]
            .iter()
            .all(|member| world.book.of(*member).failures.len() >= 3)
    })
    .await;
    until("the fourth is turned", async || {
        world.book.of(members[3]).ended >= 3
    })
    .await;
    worker.shut_down().await;
    let seen = |member| {
        let failures = world.book.of(member).failures;
        (
            failures[2].kind,
            failures[2].streak,
            failures[2].message.clone(),
        )
    };
    assert_eq!(seen(fails), (FailureKind::Error, 3, "no answer".to_owned()));
    assert_eq!(
        seen(panics),
        (FailureKind::Panic, 3, "the turn panicked: a bug".to_owned())
    );
    assert_eq!(seen(hangs).0, FailureKind::Timeout);
    assert_eq!(world.stats(Ring::Ring).await.size, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_turns_finish_and_settles_them() {
    let world = World::with(Ring::Ring, 1).await;
    let gate = Arc::new(Semaphore::new(0));
    let worker = world.worker(quick(Ring::Ring), {
        let gate = Arc::clone(&gate);
        move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await?.forget();
                again(LATER).await
            }
        }
    });
    until("the turn begins", async || {
        world.book.of(world.member()).begun == 1
    })
    .await;
    let (_, ()) = tokio::join!(async { gate.add_permits(1) }, worker.shut_down());
    let stats = world.stats(Ring::Ring).await;
    assert_eq!(
        (stats.size, stats.leased, stats.due),
        (1, 0, 0),
        "due later, as the turn said"
    );
    assert_eq!(world.book.of(world.member()).ended, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_hands_back_what_does_not_finish() {
    let world = World::with(Ring::Ring, 40).await;
    let settings = Settings {
        grace: Duration::from_millis(100),
        ..quick(Ring::Ring)
    };
    let worker = world.worker(settings, |_| std::future::pending());
    until("all turns have begun", async || {
        world.book.all().len() == 40
    })
    .await;
    let id = worker.id;
    worker.shut_down().await;
    let stats = world.stats(Ring::Ring).await;
    assert_eq!((stats.size, stats.leased, stats.due), (40, 0, 40));
    assert!(
        world
            .book
            .all()
            .values()
            .all(|entry| entry.ended == 0 && entry.running == 0)
    );
    assert!(
        !world
            .queue
            .live_workers(Ring::Ring)
            .await
            .unwrap()
            .contains(&id)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_a_worker_tells_redis_the_time() {
    let world = World::with(Ring::Ring, 20).await;
    let monitor = Monitor::start(world.redis.port()).await;
    let settings = Settings {
        lease: Duration::from_millis(500),
        ..quick(Ring::Ring)
    };
    let worker = world.worker(settings, |_| async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        again(Duration::from_millis(5)).await
    });
    world.until_turned(20, 2).await;
    worker.shut_down().await;
    let calls = monitor.calls();
    for script in ["claim", "settle", "extend", "heartbeat"] {
        let hash = script_hash(script);
        let of_script: Vec<_> = calls
            .iter()
            .filter(|call| call.get(1) == Some(&hash))
            .collect();
        assert!(!of_script.is_empty(), "{script} was called");
        for call in of_script {
            let keys: usize = call[2].parse().unwrap();
            assert_eq!(call[3 + keys], "", "the time of {script} is that of Redis");
        }
    }
}
