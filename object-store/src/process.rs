//! The object store as a process: serves until SIGTERM or SIGINT, and tells by its exit code
//! whether it could.

use std::process::ExitCode;

use anyhow::Context as _;
use shared::process::{StopSignals, exit_code};
use shared::{config, telemetry};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::disk::Disk;
use crate::http::{Listener, ObjectStore};
use crate::options::ObjectStoreOptions;

/// Name of the process in logs and errors.
const SERVICE: &str = "ringmaster-object-store";

/// The whole process.
pub fn main() -> ExitCode {
    exit_code(SERVICE, "the object store", start())
}

fn start() -> anyhow::Result<()> {
    let options: ObjectStoreOptions = config::parse()?;
    // The library logs requests with their signatures, and refusals as errors.
    let filter = format!("{},s3s=off", options.log.log);
    telemetry::init_logging(SERVICE, &filter)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(options))
}

async fn serve(options: ObjectStoreOptions) -> anyhow::Result<()> {
    let disk = Disk::open(&options.root)
        .with_context(|| format!("open the objects in {}", options.root.display()))?;
    if let Some(bucket) = &options.bucket {
        disk.make_bucket(bucket)
            .with_context(|| format!("make the bucket {bucket}"))?;
    }
    let listener = Listener::bind(options.listen)
        .await
        .with_context(|| format!("listen on {}; is another process there?", options.listen))?;
    let mut asked_to_stop = StopSignals::listen()?;
    let store = ObjectStore::new(disk, &options.access_key_id, &options.secret_access_key);
    tracing::info!(address = %listener.address(), root = %options.root.display(), "serves");
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(listener.serve(store, stop.clone()));
    asked_to_stop.received().await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}
