//! The archive of this worker, from its options.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use shared::archive::store::{Capabilities, S3Settings, S3Store};
use shared::db::alerts::{self, NewAlert};
use shared::domain::ArchiveAlert;
use shared::queue::Ring;
use shared::telemetry::chain;
use shared::telemetry::metrics::archive::CONDITIONAL_WRITES;
use sqlx::types::Uuid;
use tokio::time::{sleep, timeout};

use crate::context::{Archive, Context};
use crate::ring::Backoff;

/// How long the archive may take to show what it can do.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// Pauses while it does not answer. Nothing is pushed before it does, so they stay short.
const PROBE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// The archive; null, said loudly, without one. What it can do is not known yet.
pub(super) fn open(settings: Option<S3Settings>) -> Option<Archive> {
    let Some(settings) = settings else {
        tracing::warn!(
            "PROTECTION IS OFF: this worker has no archive (--archive-bucket), so what a server \
             loses is lost"
        );
        return None;
    };
    let store = Arc::new(S3Store::new(settings));
    Some(Archive { store })
}

/// Finds out what the archive can do, and says so. Asks until it answers: a worker starts also while
/// the archive is away.
pub(super) async fn find_out(context: Context) {
    let Some(archive) = &context.archive else {
        return;
    };
    let salt = context.worker.as_uuid().as_u64_pair().1;
    for failures in 1_u32.. {
        match timeout(PROBE_PATIENCE, say(&context, archive)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::warn!(
                error = %chain(error.as_ref()), "the archive does not say yet what it can do",
            ),
            Err(_elapsed) => tracing::warn!("the archive does not answer yet"),
        }
        sleep(PROBE_BACKOFF.after(failures, salt)).await;
    }
}

async fn say(context: &Context, archive: &Archive) -> Result<(), Box<dyn Error + Send + Sync>> {
    let Capabilities { conditional_put } = archive.store.probe().await?;
    gauge!(CONDITIONAL_WRITES).set(if conditional_put { 1.0 } else { 0.0 });
    let (name, subject_id) = (ArchiveAlert::Unconditional.as_str(), Uuid::nil());
    if conditional_put {
        tracing::info!("the archive answers");
        alerts::clear(&context.pool, name, subject_id, context.now()).await?;
        return Ok(());
    }
    let detail = "the archive's store ignores If-None-Match: everybody looks before writing, which \
                  does not keep two writers apart at one moment";
    tracing::error!(detail, "the archive writes over objects");
    let alert = NewAlert {
        name,
        subject_kind: "archive",
        // There is one archive.
        subject_id,
        resource_id: None,
        detail,
        now: context.now(),
    };
    alerts::raise(&context.pool, &alert).await?;
    Ok(())
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
