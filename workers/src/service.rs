//! A worker process: its options, everything it is made of, and its end.

mod archive;
mod options;
mod process;
mod source;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shared::agent_api::client::AgentClient;
use shared::clock::Clock;
use shared::db;
use shared::ids::WorkerId;
use shared::pki::stored;
use shared::ports::{Endpoint, Provider};
use shared::queue::{Queue, QueueConfig};
use shared::telemetry::Readiness;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use options::{DEFAULT_THREADS, EndpointKind, ProviderKind, WorkerOptions};
pub use process::main;
pub use source::RingSource;

use crate::cloud::LocalProvider;
use crate::context::{Agents, Borders, Context, Memory};
use crate::control_clock::ControlClock;
use crate::endpoint::{DirectEndpoint, GatewayEndpoint};
use crate::observe::{ObservationWriter, Prober};
use crate::ring::RingWorker;
use crate::sweeps;
use crate::turns::{Turns, rows::Rows};

/// Longest time one call to an agent may take.
const AGENT_PATIENCE: Duration = Duration::from_secs(3);

/// Connections one worker holds to the control database.
const DATABASE_CONNECTIONS: u32 = 12;

/// Works until `stop`, then lets turns finish, settles and leaves. `clock` is the machine's own,
/// which may be wrong: what is stored is the time of the control database.
///
/// # Errors
/// What kept it from starting, or a loop that ended by itself. A control database or a Redis that
/// goes away while it works is waited for.
pub async fn run(
    options: WorkerOptions,
    clock: Arc<dyn Clock>,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let tasks = TaskTracker::new();
    // What records the last turns outlives them.
    let stop_recording = CancellationToken::new();
    let pool = connect(&options).await?;
    let clock = Arc::new(ControlClock::put_right(clock, &pool).await?);
    let context = build(&options, pool, Arc::<ControlClock>::clone(&clock), &tasks).await?;
    let store = context.pool.clone();
    let (writer, recording) = (context.observations.clone(), stop_recording.clone());
    tasks.spawn(async move { writer.run(&store, recording).await });
    let prober = context.prober.clone();
    tasks.spawn(
        stop.clone()
            .run_until_cancelled_owned(async move { prober.tend().await }),
    );
    tasks.spawn(
        stop.clone()
            .run_until_cancelled_owned(archive::find_out(context.clone())),
    );
    sweeps::start(&context, &clock, &tasks, &stop);
    readiness.set_ready();
    tracing::info!(worker.id = %context.worker, "works");
    let mut settings = options.ring.clone();
    settings.rings = archive::rings_with(context.archive.as_ref(), settings.rings);
    let ring = RingWorker {
        queue: context.queue.clone(),
        worker: context.worker,
        settings,
        source: Arc::new(RingSource::new(context.pool.clone())),
        handler: Arc::new(Turns::new(context)),
    };
    let ended = ring.run(stop.clone()).await;
    readiness.set_not_ready("the worker stops");
    stop.cancel();
    stop_recording.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(ended?)
}

/// The connections of one worker to the control database that `options` name.
///
/// # Errors
/// It cannot be reached.
pub async fn connect(options: &WorkerOptions) -> Result<PgPool, db::DbError> {
    let mut connect = db::ConnectOptions::of("ringmaster-worker");
    connect.max_connections = DATABASE_CONNECTIONS;
    db::connect(&options.database.database_url, &connect).await
}

/// Everything turns work with, as `options` say. What goes on beside them runs on `tasks`.
///
/// # Errors
/// Something cannot be reached, or an option does not fit the others.
pub async fn build(
    options: &WorkerOptions,
    pool: PgPool,
    clock: Arc<dyn Clock>,
    tasks: &TaskTracker,
) -> anyhow::Result<Context> {
    let worker = WorkerId::new();
    let endpoint = endpoint(options, &pool, &clock);
    let vault = options.encryption_key.vault().map_err(anyhow::Error::msg)?;
    let queue = Queue::connect(QueueConfig::try_from(&options.redis)?).await?;
    let authority = stored::load_or_make(&pool, &vault, clock.as_ref()).await?;
    let identity = authority.issue_for_worker(worker, clock.as_ref())?;
    let client = AgentClient::new(authority.certificate_pem(), &identity, AGENT_PATIENCE)
        .context("set up the client of agents")?;
    Ok(Context {
        rows: Rows::start(pool.clone(), tasks),
        servers: Rows::start(pool.clone(), tasks),
        pool,
        queue,
        vault,
        clock,
        authority: Arc::new(authority),
        agents: Agents::new(client),
        prober: Prober::new(options.feel),
        observations: ObservationWriter::new(options.record),
        provider: provider(options),
        provider_name: options.provider.as_str().to_owned(),
        endpoint,
        archive: archive::open(
            options
                .archive
                .settings()
                .map_err(|problems| wrong(&problems))?,
        ),
        postgres_major: options.postgres_major,
        proofs_at_once: options.proofs_at_once,
        memory: Arc::new(Memory::default()),
        worker,
        borders: Borders::default(),
    })
}

fn wrong(problems: &[String]) -> anyhow::Error {
    anyhow::Error::msg(problems.join("; "))
}

fn endpoint(options: &WorkerOptions, pool: &PgPool, clock: &Arc<dyn Clock>) -> Arc<dyn Endpoint> {
    match options.endpoint {
        EndpointKind::Gateway => Arc::new(GatewayEndpoint::new(pool.clone(), Arc::clone(clock))),
        EndpointKind::Direct => Arc::new(DirectEndpoint),
    }
}

fn provider(options: &WorkerOptions) -> Arc<dyn Provider> {
    match options.provider {
        ProviderKind::Local => Arc::new(LocalProvider::new(options.local.clone().into())),
    }
}
