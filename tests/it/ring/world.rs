//! A Redis, a roster of members, and workers that turn them, for the tests of the worker loop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use shared::ids::{ResourceId, WorkerId};
use shared::queue::{Member, MemberKind, Outcome, Queue, QueueConfig, Ring, ShardStats};
use tests::redis_server::RedisServer;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use workers::ring::{
    Failure, Handler, Rebuild, RebuildError, RingError, RingWorker, Settings, Turn, TurnError,
};

/// Longest wait for anything, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// Far enough away not to happen during a test.
pub(super) const LATER: Duration = Duration::from_hours(1);

pub(super) struct World {
    pub(super) redis: RedisServer,
    pub(super) queue: Queue,
    pub(super) roster: Arc<Roster>,
    pub(super) book: Arc<Book>,
}

/// The members that the control database would know, and the epochs it gave.
#[derive(Default)]
pub(super) struct Roster {
    rows: BTreeMap<(Ring, Member), Duration>,
    epoch: AtomicU64,
}

impl Rebuild for Roster {
    async fn begin_epoch(&self) -> Result<u64, RebuildError> {
        Ok(self.epoch.fetch_add(1, Ordering::SeqCst) + 1)
    }

    async fn page(
        &self,
        ring: Ring,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Duration)>, RebuildError> {
        let rows = self
            .rows
            .iter()
            .filter(|((of, member), _)| *of == ring && after.is_none_or(|after| *member > after));
        Ok(rows
            .take(limit)
            .map(|((_, member), due_in)| (*member, *due_in))
            .collect())
    }
}

impl Roster {
    pub(super) fn epochs_given(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }
}

/// What the turns did.
#[derive(Default)]
pub(super) struct Book {
    entries: Mutex<BTreeMap<Member, Entry>>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) begun: u32,
    pub(super) ended: u32,
    /// Turns that run now.
    pub(super) running: u32,
    /// Turns that began while another ran.
    pub(super) overlaps: u32,
    pub(super) workers: Vec<WorkerId>,
    pub(super) failures: Vec<Failure>,
}

impl Book {
    pub(super) fn of(&self, member: Member) -> Entry {
        self.entries
            .lock()
            .unwrap()
            .get(&member)
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn all(&self) -> BTreeMap<Member, Entry> {
        self.entries.lock().unwrap().clone()
    }

    pub(super) fn clear(&self) {
        self.entries.lock().unwrap().clear();
    }

    /// Members that have ended at least `turns` turns.
    pub(super) fn ended(&self, turns: u32) -> usize {
        self.entries
            .lock()
            .unwrap()
            .values()
            .filter(|entry| entry.ended >= turns)
            .count()
    }

    pub(super) fn overlaps(&self) -> u32 {
        self.entries
            .lock()
            .unwrap()
            .values()
            .map(|entry| entry.overlaps)
            .sum()
    }

    fn update(&self, member: Member, change: impl FnOnce(&mut Entry)) {
        change(self.entries.lock().unwrap().entry(member).or_default());
    }
}

/// What a turn does, given by a test.
pub(super) type Behaviour =
    Box<dyn Fn(Turn) -> BoxFuture<'static, Result<Outcome, TurnError>> + Send + Sync>;

struct BookedHandler {
    worker: WorkerId,
    book: Arc<Book>,
    behaviour: Behaviour,
}

/// Closes the entry of a turn, also of one that is dropped or panics.
struct Running<'a>(&'a Book, Member);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.update(self.1, |entry| entry.running -= 1);
    }
}

impl Handler for BookedHandler {
    async fn turn(&self, turn: &Turn) -> Result<Outcome, TurnError> {
        self.book.update(turn.member(), |entry| {
            entry.begun += 1;
            entry.overlaps += entry.running.min(1);
            entry.running += 1;
            if !entry.workers.contains(&self.worker) {
                entry.workers.push(self.worker);
            }
        });
        let running = Running(&self.book, turn.member());
        let result = (self.behaviour)(turn.clone()).await;
        drop(running);
        self.book.update(turn.member(), |entry| entry.ended += 1);
        result
    }

    async fn failed(&self, turn: &Turn, failure: &Failure) -> Outcome {
        self.book
            .update(turn.member(), |entry| entry.failures.push(failure.clone()));
        Outcome::Again(Duration::from_millis(10))
    }
}

/// A running worker. Dropped, it is gone like a killed process.
pub(super) struct RunningWorker {
    pub(super) id: WorkerId,
    stop: CancellationToken,
    task: JoinSet<Result<(), RingError>>,
}

impl RunningWorker {
    pub(super) async fn shut_down(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task.join_next()).await;
        ended.expect("the worker ends").unwrap().unwrap().unwrap();
    }

    pub(super) async fn crash(mut self) {
        self.task.shutdown().await;
    }
}

impl World {
    /// A world whose `ring` has `count` members, due at once, that the first worker will find in
    /// the roster.
    pub(super) async fn with(ring: Ring, count: usize) -> Self {
        Self::with_rows((0..count).map(|_| (ring, Duration::ZERO))).await
    }

    pub(super) async fn with_rows(rows: impl IntoIterator<Item = (Ring, Duration)>) -> Self {
        let redis = RedisServer::start().await.unwrap();
        let queue = connect(&redis.url()).await;
        let rows = rows
            .into_iter()
            .map(|(ring, due_in)| ((ring, new_member()), due_in))
            .collect();
        let roster = Arc::new(Roster {
            rows,
            epoch: AtomicU64::new(0),
        });
        Self {
            redis,
            queue,
            roster,
            book: Arc::default(),
        }
    }

    /// Builds `ring` without a worker's help.
    pub(super) async fn build(&self, ring: Ring) {
        workers::ring::enter_all(&self.queue, ring, self.roster.as_ref())
            .await
            .unwrap();
        for shard in self.queue.shards(ring) {
            self.queue.begin(shard, 1).await.unwrap();
        }
    }

    pub(super) fn members(&self) -> Vec<Member> {
        self.roster.rows.keys().map(|(_, member)| *member).collect()
    }

    pub(super) fn member(&self) -> Member {
        self.members()[0]
    }

    /// Starts a worker on the world's own connection.
    pub(super) fn worker<F>(
        &self,
        settings: Settings,
        behaviour: impl Fn(Turn) -> F + Send + Sync + 'static,
    ) -> RunningWorker
    where
        F: Future<Output = Result<Outcome, TurnError>> + Send + 'static,
    {
        self.worker_on(self.queue.clone(), settings, behaviour)
    }

    pub(super) fn worker_on<F>(
        &self,
        queue: Queue,
        settings: Settings,
        behaviour: impl Fn(Turn) -> F + Send + Sync + 'static,
    ) -> RunningWorker
    where
        F: Future<Output = Result<Outcome, TurnError>> + Send + 'static,
    {
        let id = WorkerId::new();
        let handler = BookedHandler {
            worker: id,
            book: Arc::clone(&self.book),
            behaviour: Box::new(move |turn| Box::pin(behaviour(turn))),
        };
        let worker = RingWorker {
            queue,
            worker: id,
            settings,
            handler: Arc::new(handler),
            source: Arc::clone(&self.roster),
        };
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(worker.run(stop.clone()));
        RunningWorker { id, stop, task }
    }

    /// What is in all shards of `ring` together.
    pub(super) async fn stats(&self, ring: Ring) -> ShardStats {
        let mut sum = ShardStats {
            epoch: None,
            size: 0,
            due: 0,
            leased: 0,
            expired: 0,
            oldest_due_age: Duration::ZERO,
        };
        for shard in self.queue.shards(ring) {
            let stats = self.queue.stats(shard).await.unwrap();
            sum.epoch = sum.epoch.max(stats.epoch);
            sum.size += stats.size;
            sum.due += stats.due;
            sum.leased += stats.leased;
            sum.expired += stats.expired;
            sum.oldest_due_age = sum.oldest_due_age.max(stats.oldest_due_age);
        }
        sum
    }

    /// Waits until all `count` members have ended at least `turns` turns.
    pub(super) async fn until_turned(&self, count: usize, turns: u32) {
        until("the members are turned", async || {
            self.book.ended(turns) >= count
        })
        .await;
    }

    pub(super) async fn until_stats(&self, ring: Ring, holds: impl Fn(&ShardStats) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let stats = self.stats(ring).await;
            if holds(&stats) {
                return;
            }
            assert!(Instant::now() < deadline, "last seen: {stats:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(super) async fn connect(url: &str) -> Queue {
    connect_to_shards(url, 4).await
}

pub(super) async fn connect_to_shards(url: &str, shards: u16) -> Queue {
    let config = QueueConfig::single(url).unwrap();
    let config = config.with_shards(shards).unwrap();
    Queue::connect(config).await.unwrap()
}

pub(super) fn new_member() -> Member {
    Member::new(MemberKind::Resource, ResourceId::new().as_uuid())
}

/// Waits for a condition; panics with its name after a minute.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Settings for tests: `ring` only, looks at everything often, and owns at once.
pub(super) fn quick(ring: Ring) -> Settings {
    Settings {
        rings: vec![ring],
        lease: Duration::from_secs(10),
        poll_cap: Duration::from_millis(100),
        take_over: Duration::from_millis(200),
        worker_ttl: Duration::from_secs(1),
        grace: Duration::from_secs(20),
        ..Settings::default()
    }
}

pub(super) async fn again(wait: Duration) -> Result<Outcome, TurnError> {
    Ok(Outcome::Again(wait))
}
