//! The object store as a process: serves until SIGTERM or SIGINT, and tells by its exit code
//! whether it could.

use std::process::ExitCode;

use anyhow::Context as _;
use shared::{config, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::disk::Disk;
use crate::http::{Listener, ObjectStore};
use crate::options::ObjectStoreOptions;

/// The whole process.
pub fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the object store ends");
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a server that cannot start must say so also before logging is set up"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("ringmaster-object-store: {error:#}");
}

fn start() -> anyhow::Result<()> {
    let options: ObjectStoreOptions = config::parse()?;
    // The library logs requests with their signatures, and refusals as errors.
    let filter = format!("{},s3s=off", options.log.log);
    telemetry::init_logging("ringmaster-object-store", &filter)?;
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
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let store = ObjectStore::new(disk, &options.access_key_id, &options.secret_access_key);
    tracing::info!(address = %listener.address(), root = %options.root.display(), "serves");
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(listener.serve(store, stop.clone()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}
