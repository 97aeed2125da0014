//! The worker as a process: reads its options, works until SIGTERM or SIGINT, and tells by its exit
//! code whether it could.

use std::process::ExitCode;
use std::sync::Arc;

use shared::clock::Clock;
use shared::config;
use shared::process::{exit_code, raise_file_limit};
use shared::telemetry;

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
    let work = telemetry::serve(
        (SERVICE, "the worker"),
        options.metrics_listen,
        |readiness, stop| run(options, clock, readiness, stop),
    );
    let worked = runtime.block_on(work);
    runtime.shutdown_background();
    worked
}
