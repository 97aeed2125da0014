//! The worker as a process: reads its options, works until SIGTERM or SIGINT, and tells by its exit
//! code whether it could.

use std::process::ExitCode;
use std::sync::Arc;

use shared::clock::Clock;
use shared::config;
use shared::process::{StopSignals, exit_code, raise_file_limit};
use shared::telemetry::{self, Readiness, StatusServer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{WorkerOptions, run};

/// Name of the process in logs and metrics.
const SERVICE: &str = "ringmaster-worker";

/// The whole process, on a machine with this clock.
pub fn main(clock: Arc<dyn Clock>) -> ExitCode {
    exit_code(SERVICE, "the worker", start(clock))
}

fn start(clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let options: WorkerOptions = config::parse()?;
    telemetry::init_logging(SERVICE, &options.log.log)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads)
        .enable_all()
        .build()?;
    let worked = runtime.block_on(serve(options, clock));
    runtime.shutdown_background();
    worked
}

async fn serve(options: WorkerOptions, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let metrics = telemetry::install_recorder(SERVICE)?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let readiness = Readiness::not_yet("the worker starts");
    if let Some(address) = options.metrics_listen {
        let status = StatusServer::bind(address, metrics.clone(), readiness.clone()).await?;
        tasks.spawn(status.serve(stop.clone()));
    }
    tasks.spawn(metrics.upkeep(stop.clone()));
    let mut asked_to_stop = StopSignals::listen()?;
    let asked = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = asked_to_stop.received() => {}
            () = asked.cancelled() => {}
        }
        asked.cancel();
    });
    let worked = run(options, clock, readiness, stop.clone()).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    worked
}
