//! `ringmaster-api`, the process.

use std::sync::Arc;

use anyhow::Context as _;
use api::config::ApiOptions;
use api::{App, AppParts, Server};
use shared::clock::SystemClock;
use shared::db::{self, ConnectOptions};
use shared::process::StopSignals;
use shared::queue::Queue;
use shared::telemetry::{Stage, init_logging, install_recorder};
use shared::{config, telemetry};
use tokio_util::sync::CancellationToken;

/// Name of the process in logs, metrics and `pg_stat_activity`.
const SERVICE: &str = "ringmaster-api";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options: ApiOptions = config::parse()?;
    init_logging(SERVICE, &options.log.log)?;
    let result = run(options).await;
    if let Err(error) = &result {
        tracing::error!(at = "fail", error = %telemetry::chain(error.as_ref()), "the API ends");
    }
    result
}

async fn run(options: ApiOptions) -> anyhow::Result<()> {
    let metrics = install_recorder(SERVICE)?;
    let stop = stop_signal()?;
    let stage = Stage::start("connect");
    let connect = ConnectOptions {
        max_connections: options.database.database_connections,
        ..ConnectOptions::of(SERVICE)
    };
    let pool = db::connect(&options.database.database_url, &connect).await?;
    db::migrate(&pool).await?;
    let queue = options.redis.queue_config().map_err(anyhow::Error::msg)?;
    let app = App::new(AppParts {
        pool,
        queue: Queue::connect(queue).await.context("set up the queue")?,
        vault: options.encryption_key.vault().map_err(anyhow::Error::msg)?,
        clock: Arc::new(SystemClock),
        metrics: metrics.clone(),
        limits: options.limits,
    });
    stage.finish();
    let server = Server::bind(options.listen, app).await?;
    tracing::info!(address = %server.address(), "the API answers");
    tokio::join!(server.serve(stop.clone()), metrics.upkeep(stop));
    tracing::info!(at = "finish", "the API ends");
    Ok(())
}

/// Cancelled at SIGINT and SIGTERM.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut asked = StopSignals::listen().context("listen for signals to stop")?;
    let told = stop.clone();
    let listen = async move {
        asked.received().await;
        told.cancel();
    };
    tokio_util::task::TaskTracker::new().spawn(listen);
    Ok(stop)
}
