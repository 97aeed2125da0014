//! A fleet as in production: a control database, a Redis, a whole worker in this process, and
//! standard databases that it has made, each with an agent and a PostgreSQL of its own.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser as _;
use shared::clock::{Clock as _, SystemClock};
use shared::db::fleet::load_resources;
use shared::db::resources::create::{NewResource, create};
use shared::db::{self, ConnectOptions, tokens};
use shared::domain::{JobKind, ResourceName, ResourceState, TokenScope};
use shared::ids::{OperationId, RequestId, ResourceId, TokenId};
use shared::ports::Provider as _;
use shared::queue::{Member, Queue, QueueConfig};
use shared::secret::{Secret, Vault};
use shared::telemetry::Readiness;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use workers::cloud::LocalProvider;
use workers::service::{self, WorkerOptions};

use super::postgres::Server;
use crate::progress::Progress;
use crate::redis_process::RedisProcess;

/// Longest time until all databases are made.
const PATIENCE: Duration = Duration::from_mins(15);

/// Time between two looks at how many are.
const LOOK: Duration = Duration::from_millis(500);

/// Time after which every member has been turned at a new cadence: the old ones are at most ten
/// seconds, with jitter.
const SETTLE: Duration = Duration::from_secs(12);

/// A running fleet.
pub(super) struct Fleet {
    pub(super) pool: PgPool,
    pub(super) redis: RedisProcess,
    pub(super) resources: Vec<ResourceId>,
    control: Server,
    worker: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    provider: LocalProvider,
    _directory: TempDir,
}

impl Fleet {
    /// Has a worker make `count` databases. It gathers observations for `flush`, so that at a quick
    /// cadence as many of them are written as are made.
    pub(super) async fn create(
        count: usize,
        agent_binary: &Path,
        flush: Duration,
    ) -> anyhow::Result<Self> {
        ensure!(
            agent_binary.is_file(),
            "{} is not there; build it with the same profile, or give --agent-binary",
            agent_binary.display()
        );
        let control = Server::start().await?;
        let admin = control.connect("postgres").await?;
        admin.run("create database control").await?;
        let url = control.url("control");
        let pool = db::connect(&url, &ConnectOptions::of("loadtest")).await?;
        db::migrate(&pool).await?;
        let redis = RedisProcess::start().await?;
        let directory = tempfile::tempdir().context("make a directory for the fleet")?;
        let options = options(&directory, &url, &redis, agent_binary, flush)?;
        let provider = LocalProvider::new(options.local.clone().into());
        let stop = CancellationToken::new();
        let mut worker = JoinSet::new();
        let readiness = Readiness::not_yet("the worker starts");
        worker.spawn(service::run(
            options,
            Arc::new(SystemClock),
            readiness,
            stop.clone(),
        ));
        let mut fleet = Self {
            pool,
            redis,
            resources: Vec::new(),
            control,
            worker,
            stop,
            provider,
            _directory: directory,
        };
        fleet.intend(count).await?;
        fleet.until_available().await?;
        Ok(fleet)
    }

    /// Asks for databases, as the API does.
    async fn intend(&mut self, count: usize) -> anyhow::Result<()> {
        let token_id = create_token(&self.pool).await?;
        let queue = Queue::connect(QueueConfig::single(self.redis.url())?).await?;
        for number in 0..count {
            let (id, name): (_, ResourceName) = (ResourceId::new(), format!("s-{number}").parse()?);
            let now = SystemClock.now();
            let new = NewResource {
                id,
                operation_id: OperationId::new(),
                name: &name,
                plan: "standard",
                fork: None,
                deadline_at: now + PATIENCE,
                token_id,
                key: None,
                request_id: RequestId::new(),
                now,
            };
            create(&self.pool, &new).await?;
            let (ring, member) = Member::of_job(JobKind::Provision, id.as_uuid());
            queue.wake(ring, member).await?;
            self.resources.push(id);
        }
        Ok(())
    }

    async fn until_available(&mut self) -> anyhow::Result<()> {
        let total = u64::try_from(self.resources.len())?;
        let progress = Progress::begin("databases with a server each", total);
        let begun = Instant::now();
        loop {
            let made = self.available().await?;
            progress.at(u64::try_from(made)?);
            if made == self.resources.len() {
                break;
            }
            if let Some(ended) = self.worker.try_join_next() {
                bail!("the worker has ended: {ended:?}");
            }
            ensure!(begun.elapsed() < PATIENCE, "{made} of {total} were made");
            sleep(LOOK).await;
        }
        progress.end(&format!("made in {:.0} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    /// How many of the databases are available.
    pub(super) async fn available(&self) -> anyhow::Result<usize> {
        let rows = load_resources(&self.pool, &self.resources).await?;
        let available = rows
            .iter()
            .filter(|row| row.state == ResourceState::Available);
        Ok(available.count())
    }

    /// Turns resources every `resources` from now on, and servers every `servers`.
    pub(super) async fn turn_every(
        &self,
        resources: Duration,
        servers: Duration,
    ) -> anyhow::Result<()> {
        let (resources, servers) = (resources.as_millis(), servers.as_millis());
        let admin = self.control.connect("control").await?;
        // The servers are given a plan that differs in nothing else, so that no spec changes.
        let sql = format!(
            "update plans set cadence_ms = {resources} where name = 'standard';
            create temporary table of_servers as select * from plans where name = 'standard';
            update of_servers set name = 'standard-servers', offered = false, cadence_ms = {servers};
            insert into plans select * from of_servers
                on conflict (name) do update set cadence_ms = excluded.cadence_ms;
            update servers set plan = 'standard-servers'"
        );
        admin.run(&sql).await?;
        sleep(SETTLE).await;
        Ok(())
    }

    /// Ends the worker, and with their data all agents and databases.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.worker.join_next().await {
            ended.context("join the worker")??;
        }
        let rows = load_resources(&self.pool, &self.resources).await?;
        let mut ending = JoinSet::new();
        for base in rows.into_iter().filter_map(|row| row.base) {
            let provider = self.provider.clone();
            ending.spawn(async move { provider.destroy(base.server).await });
        }
        while let Some(ended) = ending.join_next().await {
            ended.context("end a server")??;
        }
        self.pool.close().await;
        self.redis.stop().await?;
        self.control.stop().await
    }
}

/// The options of a worker, as on its command line.
fn options(
    directory: &TempDir,
    url: &Secret,
    redis: &RedisProcess,
    agent_binary: &Path,
    flush: Duration,
) -> anyhow::Result<WorkerOptions> {
    // The user that PostgreSQL runs as must be able to pass it.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))?;
    let key = directory.path().join("key");
    fs::write(&key, Vault::random_key().expose()).context("write the encryption key")?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let words: [OsString; 16] = [
        "ringmaster-worker".into(),
        "--database-url".into(),
        url.expose().into(),
        "--redis-url".into(),
        redis.url().into(),
        "--encryption-key-file".into(),
        key.into(),
        "--local-root".into(),
        directory.path().join("servers").into(),
        "--agent-binary".into(),
        agent_binary.into(),
        "--supervisor-pid".into(),
        std::process::id().to_string().into(),
        "--endpoint=direct".into(),
        "--observation-flush-ms".into(),
        flush.as_millis().to_string().into(),
    ];
    WorkerOptions::try_parse_from(words).context("read the options of the worker")
}

async fn create_token(pool: &PgPool) -> anyhow::Result<TokenId> {
    let now = SystemClock.now();
    let new = tokens::NewToken {
        id: TokenId::new(),
        name: "loadtest",
        hash: Secret::random().sha256(),
        scope: TokenScope::Write,
        now,
        expires_at: now + Duration::from_hours(24),
    };
    ensure!(tokens::create(pool, &new).await?, "the token is not new");
    Ok(new.id)
}
