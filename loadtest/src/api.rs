//! Creates through the HTTP API: many clients at once, each with a kept connection, and no worker.
//!
//! Everything shares this machine: the clients and the API (in this process), a PostgreSQL that
//! writes as durably as in production, and a Redis for the wakes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use api::config::LimitOptions;
use api::{App, AppParts, Server};
use hdrhistogram::Histogram;
use serde_json::json;
use shared::clock::{Clock as _, SystemClock};
use shared::db::{self, ConnectOptions, tokens};
use shared::domain::TokenScope;
use shared::ids::TokenId;
use shared::process::{
    Account, DeathSignal, EmbeddedPostgres, EmbeddedPostgresOptions, Lifetime,
    PostgresInstallations, free_port, processes_in,
};
use shared::queue::{Queue, QueueConfig};
use shared::secret::{Secret, Vault};
use shared::telemetry::install_recorder;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cpu;
use crate::progress::Progress;
use crate::redis_process::RedisProcess;
use crate::report::{Bar, Report};

/// Options of the api scenario.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Clients at once.
    #[arg(long, default_value_t = 50)]
    clients: usize,

    /// Time for which creates are sent, in seconds, after a second of warming up.
    #[arg(long, default_value_t = 15)]
    seconds: u64,

    /// Connections of the API to the control database.
    #[arg(long, default_value_t = 10)]
    database_connections: u32,
}

/// Runs the scenario.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let scene = Scene::start(options).await?;
    report.version("postgres", scene.postgres_version.clone());
    report.version("redis-server", scene.redis.version().await?);
    report.settings(json!({
        "clients": options.clients,
        "seconds": options.seconds,
        "database_connections": options.database_connections,
        "postgres": "defaults: fsync and synchronous_commit on",
    }));
    scene.send_creates(options, Duration::from_secs(1)).await?;
    let before = scene.processor_times()?;
    let (took, times) = scene
        .send_creates(options, Duration::from_secs(options.seconds))
        .await?;
    let after = scene.processor_times()?;
    let count = u32::try_from(times.len()).context("count the creates")?;
    let per_second = f64::from(count) / took.as_secs_f64();
    let milliseconds = |quantile| {
        let micros = u32::try_from(times.value_at_quantile(quantile)).unwrap_or(u32::MAX);
        f64::from(micros) / 1000.0
    };
    report.judge("creates", per_second, "/s", Bar::AtLeast(500.0));
    report.judge("create, p99", milliseconds(0.99), "ms", Bar::AtMost(50.0));
    report.note("create, median", milliseconds(0.5), "ms");
    report.note("create, slowest", milliseconds(1.0), "ms");
    for (what, before, after) in [
        ("API and clients", before.0, after.0),
        ("PostgreSQL", before.1, after.1),
    ] {
        let each = (after.saturating_sub(before)) / count.max(1);
        let what = format!("processor time of a create, {what}");
        report.note(what, each.as_secs_f64() * 1e6, "µs");
    }
    scene.check(times.len()).await?;
    scene.stop().await
}

/// Everything that takes part.
struct Scene {
    address: SocketAddr,
    token: Secret,
    pool: PgPool,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    postgres: EmbeddedPostgres,
    postgres_version: String,
    redis: RedisProcess,
    names: Arc<AtomicU64>,
    _directory: TempDir,
}

impl Scene {
    async fn start(options: &Options) -> anyhow::Result<Self> {
        let progress = Progress::begin("start PostgreSQL, Redis and the API", 0);
        let (directory, postgres, postgres_version) = start_postgres().await?;
        let redis = RedisProcess::start().await?;
        postgres.ensure_database("ringmaster").await?;
        let connect = ConnectOptions {
            max_connections: options.database_connections,
            ..ConnectOptions::of("loadtest")
        };
        let pool = db::connect(&postgres.url("ringmaster"), &connect).await?;
        db::migrate(&pool).await?;
        let token = create_token(&pool).await?;
        let app = App::new(AppParts {
            pool: pool.clone(),
            queue: Queue::connect(QueueConfig::single(redis.url())?).await?,
            vault: Vault::from_base64(&Vault::random_key())?,
            clock: Arc::new(SystemClock),
            metrics: install_recorder("loadtest")?,
            // One token sends everything.
            limits: LimitOptions {
                rate_limit: 1_000_000,
                rate_burst: 1_000_000,
                ..LimitOptions::default()
            },
        });
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), app).await?;
        let (address, stop) = (server.address(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(server.serve(stop.clone()));
        progress.end("ready");
        Ok(Self {
            address,
            token,
            pool,
            stop,
            tasks,
            postgres,
            postgres_version,
            redis,
            names: Arc::default(),
            _directory: directory,
        })
    }

    /// Sends creates from all clients for `duration`; gives the time it took, and the time of each
    /// create in microseconds.
    async fn send_creates(
        &self,
        options: &Options,
        duration: Duration,
    ) -> anyhow::Result<(Duration, Histogram<u64>)> {
        let what = format!("{} clients create for {duration:?}", options.clients);
        let progress = Progress::begin(what, 0);
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..options.clients {
            let client = Client {
                http: reqwest::Client::builder().no_proxy().build()?,
                url: format!("http://{}/v1/resources", self.address),
                token: self.token.clone(),
                names: Arc::clone(&self.names),
            };
            clients.spawn(client.create_until(started + duration));
        }
        let mut all = Histogram::new(3)?;
        while let Some(times) = clients.join_next().await {
            all.add(times??)?;
        }
        progress.end(&format!("{} creates", all.len()));
        Ok((started.elapsed(), all))
    }

    /// Processor time so far: of this process, and of PostgreSQL with all connections.
    fn processor_times(&self) -> anyhow::Result<(Duration, Duration)> {
        let mut postgres = Duration::ZERO;
        for process in processes_in(self.postgres.data_directory())? {
            postgres += cpu::time_of(process.pid())?;
        }
        Ok((cpu::time_of(std::process::id())?, postgres))
    }

    /// What was answered is in the control database.
    async fn check(&self, at_least: u64) -> anyhow::Result<()> {
        let mut found = 0;
        let mut after = None;
        loop {
            let page = db::resources::list(&self.pool, after, db::Limit::most()).await?;
            found += u64::try_from(page.items.len())?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        ensure!(
            found >= at_least,
            "{at_least} were accepted, {found} are there"
        );
        Ok(())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.pool.close().await;
        self.redis.stop().await?;
        self.postgres.stop().await.context("stop PostgreSQL")
    }
}

struct Client {
    http: reqwest::Client,
    url: String,
    token: Secret,
    names: Arc<AtomicU64>,
}

impl Client {
    async fn create_until(self, end: Instant) -> anyhow::Result<Histogram<u64>> {
        let mut times = Histogram::new(3)?;
        while Instant::now() < end {
            let number = self.names.fetch_add(1, Ordering::Relaxed);
            let body = json!({ "name": format!("load-{number}"), "plan": "standard" });
            let started = Instant::now();
            let request = self
                .http
                .post(&self.url)
                .bearer_auth(self.token.expose())
                .json(&body);
            let answer = request.send().await?;
            let status = answer.status();
            let text = answer.text().await?;
            times.record(u64::try_from(started.elapsed().as_micros())?)?;
            ensure!(
                status.as_u16() == 202,
                "a create was answered {status}: {text}"
            );
        }
        Ok(times)
    }
}

async fn start_postgres() -> anyhow::Result<(TempDir, EmbeddedPostgres, String)> {
    let installations = PostgresInstallations::discover(&[]).await;
    let binaries = installations.newest()?;
    let account = Account::for_postgres()?;
    let directory = tempfile::tempdir().context("make a directory for PostgreSQL")?;
    account.give(directory.path())?;
    let options = EmbeddedPostgresOptions {
        data_directory: directory.path().join("data"),
        log: directory.path().join("log"),
        port: free_port()?,
        password: None,
        lifetime: Lifetime::DiesWithUs(DeathSignal::Quit),
        settings: Vec::new(),
    };
    let version = binaries.version.to_string();
    let postgres = EmbeddedPostgres::start(binaries, &account, options)
        .await
        .context("start PostgreSQL")?;
    Ok((directory, postgres, version))
}

async fn create_token(pool: &PgPool) -> anyhow::Result<Secret> {
    // Only the first call of a process installs it; the clients need one even without TLS.
    drop(rustls::crypto::ring::default_provider().install_default());
    let (secret, now) = (Secret::random(), SystemClock.now());
    let new = tokens::NewToken {
        id: TokenId::new(),
        name: "loadtest",
        hash: secret.sha256(),
        scope: TokenScope::Write,
        now,
        expires_at: now + Duration::from_hours(24),
    };
    ensure!(tokens::create(pool, &new).await?, "the token is not new");
    Ok(secret)
}
