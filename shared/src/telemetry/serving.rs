//! A process that works until it is told to stop, and tells meanwhile how it is.

use std::io;
use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::recorder::RecorderError;
use super::status::StatusError;
use super::{Readiness, StatusServer, install_recorder};
use crate::process::StopSignals;

/// Does the work of `service` until it ends, or SIGTERM or SIGINT asks for its end.
///
/// Its metrics and health are at `address`, if there is one; `who` names the process in the reason why
/// it is not ready yet.
///
/// # Errors
/// What kept it from starting, or that of the work.
pub async fn serve<W, E>(
    (service, who): (&'static str, &str),
    address: Option<SocketAddr>,
    work: impl FnOnce(Readiness, CancellationToken) -> W,
) -> Result<(), E>
where
    W: Future<Output = Result<(), E>>,
    E: From<RecorderError> + From<StatusError> + From<io::Error>,
{
    let metrics = install_recorder(service)?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let readiness = Readiness::not_yet(format!("{who} starts"));
    if let Some(address) = address {
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
    let worked = work(readiness, stop.clone()).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    worked
}
