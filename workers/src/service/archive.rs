//! The archive of this worker, from its options.

use std::sync::Arc;
use std::time::Duration;

use shared::archive::store::{S3Settings, S3Store};
use shared::queue::Ring;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::context::Archive;

/// How long the archive may take to show what it can do: a worker that stops waits no longer.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// The archive; null, said loudly, without one. Whether it can do what we need is found out on
/// `tasks`: a worker starts also while the archive is away.
pub(super) fn open(settings: Option<S3Settings>, tasks: &TaskTracker) -> Option<Archive> {
    let Some(settings) = settings else {
        tracing::warn!(
            "PROTECTION IS OFF: this worker has no archive (--archive-bucket), so what a server \
             loses is lost"
        );
        return None;
    };
    let store = Arc::new(S3Store::new(settings));
    let probed = Arc::clone(&store);
    tasks.spawn(async move { probe(&probed).await });
    Some(Archive { store })
}

async fn probe(store: &S3Store) {
    let Ok(answer) = timeout(PROBE_PATIENCE, store.probe()).await else {
        tracing::warn!("the archive does not answer yet");
        return;
    };
    match answer {
        Ok(can) if can.conditional_put => tracing::info!("the archive answers"),
        Ok(_) => tracing::error!(
            "the archive writes over objects (it ignores If-None-Match): two leaders of one \
             database could damage its history; use an S3 that knows conditional writes",
        ),
        Err(error) => {
            let source: &dyn std::error::Error = &error;
            tracing::warn!(
                error = %shared::telemetry::chain(source), "the archive does not answer yet",
            );
        }
    }
}

/// The rings that a worker with or without an archive can serve.
pub(super) fn rings_with(archive: Option<&Archive>, mut rings: Vec<Ring>) -> Vec<Ring> {
    rings.retain(|ring| *ring != Ring::Archive || archive.is_some());
    rings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_without_an_archive_leaves_its_ring_to_others() {
        let rings = rings_with(None, Ring::ALL.to_vec());
        assert_eq!(rings, [Ring::Urgent, Ring::Ring, Ring::Jobs]);
    }
}
