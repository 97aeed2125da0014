//! Workers that die, stall, or share a ring.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use shared::queue::Ring;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use workers::ring::Settings;

use super::world::{LATER, World, again, connect_to_shards, quick, until};

/// A worker in a process of its own, with at most one turn under way.
struct Process {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
}

impl Process {
    fn start(world: &World, lease: Duration) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ring_worker"))
            .args([world.redis.url(), lease.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take().unwrap();
        Self {
            child,
            output,
            input,
        }
    }

    async fn expect(&mut self, word: &str) {
        let line = tokio::time::timeout(Duration::from_mins(1), self.output.next_line()).await;
        assert_eq!(line.unwrap().unwrap().as_deref(), Some(word));
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .await
                .unwrap()
                .success()
        );
    }
}

/// Who has the lease of the world's one member, as Redis has it.
async fn owner(world: &World) -> Option<String> {
    let keys = world
        .queue
        .keys(world.queue.shard_of(Ring::Ring, &world.member()));
    let member = world.member().to_string();
    world
        .redis
        .command(&["HGET", &keys.owner, &member])
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_worker_was_killed_mid_turn_is_turned_after_the_lease() {
    let world = World::with(Ring::Ring, 1).await;
    world.build(Ring::Ring).await;
    let mut process = Process::start(&world, Duration::from_secs(1));
    process.expect("turn").await;
    process.child.kill().await.unwrap();
    let worker = world.worker(quick(Ring::Ring), |_| again(LATER));
    world.until_turned(1, 1).await;
    worker.shut_down().await;
    let stats = world.stats(Ring::Ring).await;
    assert_eq!((stats.size, stats.leased), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stalled_longer_than_its_lease_knows_it_and_cannot_settle() {
    let world = World::with(Ring::Ring, 1).await;
    world.build(Ring::Ring).await;
    let mut process = Process::start(&world, Duration::from_millis(1500));
    process.expect("turn").await;
    process.signal("STOP").await;

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
    until("another worker turns it", async || {
        world.book.of(world.member()).begun == 1
    })
    .await;
    let taken_over = owner(&world).await;

    process.signal("CONT").await;
    process.input.write_all(b"go on\n").await.unwrap();
    process.expect("lost").await;
    drop(process.input);
    assert!(process.child.wait().await.unwrap().success());
    assert_eq!(
        owner(&world).await,
        taken_over,
        "the late settle changed nothing"
    );
    gate.add_permits(1);
    world
        .until_stats(Ring::Ring, |stats| stats.leased == 0 && stats.size == 1)
        .await;
    worker.shut_down().await;
    assert_eq!(world.book.of(world.member()).ended, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_dropped_worker_are_taken_over_before_it_counts_as_dead() {
    let world = World::with(Ring::Ring, 60).await;
    let settings = Settings {
        lease: Duration::from_secs(1),
        worker_ttl: LATER,
        ..quick(Ring::Ring)
    };
    let first = world.worker(settings.clone(), |_| std::future::pending());
    until("the first worker holds all", async || {
        world.book.all().len() == 60
    })
    .await;
    let second = world.worker(settings, |_| again(Duration::from_millis(20)));
    let (dead, heir) = (first.id, second.id);
    first.crash().await;
    world.until_turned(60, 3).await;
    assert!(
        world
            .queue
            .live_workers(Ring::Ring)
            .await
            .unwrap()
            .contains(&dead)
    );
    assert!(
        world
            .book
            .all()
            .values()
            .all(|entry| entry.workers == [dead, heir])
    );
    second.shut_down().await;
    assert_eq!(world.stats(Ring::Ring).await.size, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_ring_and_no_member_is_in_two_hands() {
    let mut world = World::with(Ring::Ring, 200).await;
    // So many shards that each owns some, whatever their random ids are.
    world.queue = connect_to_shards(&world.redis.url(), 64).await;
    let turn = |_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        again(Duration::from_millis(5)).await
    };
    let other_link = connect_to_shards(&world.redis.url(), 64).await;
    let first = world.worker(quick(Ring::Ring), turn);
    let second = world.worker_on(other_link, quick(Ring::Ring), turn);
    until("both have turned members, each many times", async || {
        let seen = |worker| {
            world
                .book
                .all()
                .values()
                .any(|entry| entry.workers.contains(&worker))
        };
        world.book.ended(20) == 200 && seen(first.id) && seen(second.id)
    })
    .await;
    first.shut_down().await;
    second.shut_down().await;
    assert_eq!(world.book.overlaps(), 0);
    let stats = world.stats(Ring::Ring).await;
    assert_eq!((stats.size, stats.leased), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_longer_than_its_lease_keeps_it() {
    let world = World::with(Ring::Ring, 3).await;
    let settings = Settings {
        lease: Duration::from_secs(2),
        ..quick(Ring::Ring)
    };
    let turn = |turn: workers::ring::Turn| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        if turn.still_mine() {
            again(LATER).await
        } else {
            Err("the lease was lost".into())
        }
    };
    let first = world.worker(settings.clone(), turn);
    let second = world.worker(settings, turn);
    world.until_turned(3, 1).await;
    first.shut_down().await;
    second.shut_down().await;
    for entry in world.book.all().values() {
        assert_eq!((entry.begun, entry.ended, entry.failures.len()), (1, 1, 0));
    }
}
