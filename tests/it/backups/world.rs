//! A control plane, a database in it, and workers whose turns are taken by the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::archive::frame;
use shared::archive::layout::Prefix;
use shared::archive::manifest::Manifest;
use shared::archive::sentinel::Sentinel;
use shared::archive::store::{Listed, ObjectStore};
use shared::clock::{Clock as _, ManualClock, SystemClock};
use shared::db::Limit;
use shared::db::archive::{Backup, Epoch, ask_for_pushes, backups_of, current_epoch};
use shared::db::jobs::{self, JobKey};
use shared::domain::{BackupState, JobKind, ResourceState};
use shared::ids::{BackupId, RequestId, ResourceId, TimelineId};
use shared::queue::{Claim, Member, Outcome, Ring, Shard, Token};
use shared::telemetry::chain;
use sqlx::{PgConnection, PgPool};
use tests::object_server::ObjectServer;
use tests::world::{PATIENCE, World};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use workers::context::{Archive, Border, Borders, Context, Gate};
use workers::ring::{Failure, FailureKind, Handler as _, Lease, Turn};
use workers::service;
use workers::turns::Turns;

use crate::protection::world::flushed;

/// Time between two looks while waiting for an agent.
const LOOK: Duration = Duration::from_millis(20);

/// What a worker believes of its lease: what holds it back must not be that.
const BELIEVED_LEASE: Duration = Duration::from_hours(24);

/// A worker of this process whose turns are taken by hand.
pub(crate) struct Worker {
    pub(crate) context: Context,
    /// The time that is stored.
    pub(crate) clock: ManualClock,
    _tasks: TaskTracker,
}

impl Worker {
    /// A worker of `world` that keeps objects in `store`.
    pub(crate) async fn of(world: &World, store: Arc<dyn ObjectStore>) -> anyhow::Result<Self> {
        // One provider for the whole process; another test may have been quicker.
        drop(rustls::crypto::ring::default_provider().install_default());
        let clock = ManualClock::starting_at(SystemClock.now());
        let tasks = TaskTracker::new();
        let options = world.worker_options()?;
        let pool = service::connect(&options).await?;
        // As a worker does before it pushes anything.
        store.probe().await?;
        let built = service::build(&options, pool, Arc::new(clock.clone()), &tasks).await?;
        let context = Context {
            archive: Some(Archive { store }),
            ..built
        };
        Ok(Self {
            context,
            clock,
            _tasks: tasks,
        })
    }

    /// A turn of the job `kind` of `timeline`, which stops at `stop`.
    pub(crate) fn turn(
        &self,
        kind: JobKind,
        timeline: TimelineId,
        stop: Option<&Arc<Stop>>,
    ) -> BoxFuture<'static, Outcome> {
        let gate = stop.map(|stop| -> Arc<dyn Gate> { Arc::<Stop>::clone(stop) });
        self.turn_of(Member::of_job(kind, timeline.as_uuid()), gate)
    }

    /// A turn of any member, whose borders `gate` sees.
    pub(crate) fn turn_of(
        &self,
        (ring, member): (Ring, Member),
        gate: Option<Arc<dyn Gate>>,
    ) -> BoxFuture<'static, Outcome> {
        let claim = Claim {
            member,
            token: Token {
                epoch: 1,
                counter: 1,
            },
            shard: Shard { ring, index: 0 },
            overdue_ms: 0,
        };
        let borders = gate.map_or_else(Borders::default, Borders::with);
        let turns = Turns::new(Context {
            borders,
            ..self.context.clone()
        });
        async move {
            let turn = Turn::new(claim, Lease::until(Instant::now() + BELIEVED_LEASE));
            match turns.turn(&turn).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    let failure = Failure {
                        kind: FailureKind::Error,
                        streak: 1,
                        message: chain(error.as_ref()).to_string(),
                    };
                    turns.failed(&turn, &failure).await
                }
            }
        }
        .boxed()
    }

    /// Sees to what may be deleted, and takes a turn of that of `timeline`. Tells whether nothing is
    /// left to be deleted.
    pub(crate) async fn expire(&self, timeline: TimelineId) -> anyhow::Result<bool> {
        workers::sweeps::retention(self.context.clone())
            .await
            .map_err(|error| anyhow::anyhow!("{}", chain(error.as_ref())))?;
        Ok(self.turn(JobKind::Expire, timeline, None).await == Outcome::Done)
    }
}

/// What becomes of a worker at a border.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// It is never heard of again.
    Dies,
    /// It goes on when others have done everything.
    Stalls,
}

/// A border at which a worker stops: the one after so many others.
pub(crate) struct Stop {
    after: usize,
    seen: AtomicUsize,
    reached: Notify,
    goes_on: Notify,
}

impl Stop {
    pub(super) fn after(borders: usize) -> Arc<Self> {
        Arc::new(Self {
            after: borders,
            seen: AtomicUsize::new(0),
            reached: Notify::new(),
            goes_on: Notify::new(),
        })
    }

    /// Returns when the worker is there.
    pub(super) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets the worker go on.
    pub(super) fn go_on(&self) {
        self.goes_on.notify_one();
    }
}

impl Gate for Stop {
    fn pass(&self, _: Border) -> BoxFuture<'_, ()> {
        async {
            if self.seen.fetch_add(1, Ordering::SeqCst) == self.after {
                self.reached.notify_one();
                self.goes_on.notified().await;
            }
        }
        .boxed()
    }
}

/// A database whose backups are made by hand.
pub(super) struct Backups {
    pub(super) world: World,
    pub(super) server: ObjectServer,
    pub(super) worker: Worker,
    pub(super) id: ResourceId,
    pub(super) timeline: TimelineId,
}

impl Backups {
    /// A database on `plan` whose first WAL is in the archive.
    pub(super) async fn start(plan: &str) -> anyhow::Result<Self> {
        let (mut world, server) =
            tokio::try_join!(World::without_workers(), ObjectServer::start())?;
        world.start_worker(&[]).await?;
        let id = world.create("shop", plan).await?;
        world.until(id, ResourceState::Available).await?;
        let worker = Worker::of(&world, Arc::new(server.store())).await?;
        let query = "select timeline_id from participants
                     join resources on resources.participant_id = participants.id
                     where resources.id = $1";
        let timeline = sqlx::query_scalar(query)
            .bind(id)
            .fetch_one(&world.database.pool)
            .await?;
        let backups = Self {
            world,
            server,
            worker,
            id,
            timeline,
        };
        ask_for_pushes(backups.pool(), backups.worker.clock.now()).await?;
        let mut customer = backups.world.connect(id).await?;
        backups.push_all(&mut customer).await?;
        Ok(backups)
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.world.database.pool
    }

    pub(super) async fn epoch(&self) -> anyhow::Result<Option<Epoch>> {
        Ok(current_epoch(self.pool(), self.timeline).await?)
    }

    pub(super) async fn prefix(&self) -> anyhow::Result<Prefix> {
        let epoch = self.epoch().await?.context("there is an epoch")?;
        Ok(epoch.record.prefix())
    }

    /// One turn.
    pub(super) async fn turn(&self, kind: JobKind) -> Outcome {
        self.worker.turn(kind, self.timeline, None).await
    }

    /// Brings everything that is flushed now to the archive.
    pub(super) async fn push_all(&self, customer: &mut PgConnection) -> anyhow::Result<Epoch> {
        let flushed = flushed(customer).await?;
        let begun = Instant::now();
        loop {
            self.turn(JobKind::WalPush).await;
            let epoch = self.epoch().await?;
            if let Some(epoch) = epoch.filter(|epoch| epoch.watermark >= flushed) {
                return Ok(epoch);
            }
            self.still_waits("a push", begun).await?;
        }
    }

    /// Asks for a backup, as the sweep does.
    pub(super) async fn ask(&self) -> anyhow::Result<()> {
        let key = JobKey {
            kind: JobKind::BaseBackup,
            subject_id: self.timeline.as_uuid(),
        };
        let now = self.worker.clock.now();
        jobs::ask(self.pool(), key, RequestId::new(), now).await?;
        Ok(())
    }

    /// Takes turns until the job is done.
    pub(super) async fn until_backed_up(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.turn(JobKind::BaseBackup).await != Outcome::Done {
            self.turn(JobKind::WalPush).await;
            self.still_waits("a backup", begun).await?;
        }
        Ok(())
    }

    /// Asks for a backup and makes it.
    pub(super) async fn back_up(&self) -> anyhow::Result<Backup> {
        self.ask().await?;
        self.until_backed_up().await?;
        self.newest().await
    }

    /// Takes turns until nothing is left to be deleted.
    pub(super) async fn expire(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.worker.expire(self.timeline).await? {
            self.still_waits("an expiry", begun).await?;
        }
        Ok(())
    }

    /// Waits until nothing of the server is left.
    pub(super) async fn until_gone(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let query = "select exists (
                select from participants where timeline_id = $1 and state <> 'removed'
            )";
        loop {
            let is_there: bool = sqlx::query_scalar(query)
                .bind(self.timeline)
                .fetch_one(self.pool())
                .await?;
            if !is_there {
                return Ok(());
            }
            self.still_waits("the end of a server", begun).await?;
        }
    }

    /// A pause between two looks; fails after too long.
    pub(super) async fn still_waits(&self, what: &str, begun: Instant) -> anyhow::Result<()> {
        if begun.elapsed() > PATIENCE {
            let rows: Vec<String> =
                sqlx::query_scalar("select to_jsonb(backups)::text from backups order by id")
                    .fetch_all(self.pool())
                    .await?;
            let story = self.world.story(self.id).await?;
            bail!("{what} does not end:\n{}\n{story}", rows.join("\n"));
        }
        sleep(LOOK).await;
        Ok(())
    }

    /// What a customer is shown, newest first.
    pub(super) async fn listed(&self) -> anyhow::Result<Vec<Backup>> {
        let page = backups_of(self.pool(), self.id, None, Limit::most()).await?;
        Ok(page.items)
    }

    pub(super) async fn newest(&self) -> anyhow::Result<Backup> {
        let listed = self.listed().await?;
        let newest = listed.into_iter().next().context("there is a backup")?;
        ensure!(newest.state == BackupState::Finished, "{newest:#?}");
        Ok(newest)
    }

    /// Backups by state, all of them.
    pub(super) async fn states(&self) -> anyhow::Result<BTreeMap<BackupId, BackupState>> {
        let rows: Vec<(BackupId, BackupState)> = sqlx::query_as("select id, state from backups")
            .fetch_all(self.pool())
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// Names that begin with `prefix`.
    pub(super) async fn objects(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        names(&self.server.store(), prefix).await
    }

    /// Everything that the sentinel of a backup stands for is in the archive, and can be read.
    pub(super) async fn assert_whole(&self, backup: &Backup) -> anyhow::Result<Sentinel> {
        let (store, prefix) = (self.server.store(), self.prefix().await?);
        let sentinel = assert_whole(&store, prefix, backup.id).await?;
        assert_eq!(Some(sentinel.start_lsn), backup.start_lsn);
        assert_eq!(Some(sentinel.stop_lsn), backup.stop_lsn);
        let epoch = self.epoch().await?.context("there is an epoch")?;
        assert!(epoch.watermark >= sentinel.stop_lsn, "{epoch:#?}");
        Ok(sentinel)
    }
}

/// Names that begin with `prefix`.
pub(super) async fn names(store: &dyn ObjectStore, prefix: &str) -> anyhow::Result<Vec<String>> {
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let after = all.last().map(|last| last.key.clone());
        let page = store.list(prefix, after.as_deref(), 1000).await?;
        let is_last = page.len() < 1000;
        all.extend(page);
        if is_last {
            return Ok(all.into_iter().map(|object| object.key).collect());
        }
    }
}

/// Everything that the sentinel of a backup stands for is there, and can be read.
pub(super) async fn assert_whole(
    store: &dyn ObjectStore,
    prefix: Prefix,
    backup: BackupId,
) -> anyhow::Result<Sentinel> {
    let get = async |key: String| {
        let object = store.get(&key, None).await?;
        object.with_context(|| format!("{key} is there"))
    };
    let sentinel: Sentinel = serde_json::from_slice(&get(prefix.backup_sentinel(backup)).await?)?;
    let (_, json) = frame::decode(&get(prefix.backup_manifest(backup)).await?)?;
    let manifest: Manifest = serde_json::from_slice(&json)?;
    assert_eq!(manifest.backup, backup);
    let mut pieces = 0;
    for number in manifest.parts.iter().flat_map(|part| &part.pieces) {
        frame::decode(&get(prefix.backup_piece(backup, *number)).await?)?;
        pieces += 1;
    }
    assert_eq!(sentinel.pieces, pieces);
    Ok(sentinel)
}
