//! Rebuilding a ring from the control database, when Redis has none.
//!
//! Members are entered first, and only then the epoch is begun: a rebuild that dies halfway has
//! changed nothing that counts, the next claim still answers *no ring*. Entering is a no-op for
//! what is there already, and the higher epoch wins, so several workers may rebuild at a time; to
//! save the work, the first of the live workers begins at once and each next one a little later.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use shared::ids::WorkerId;
use shared::queue::{Member, Queue, QueueError, Ring, Shard};
use shared::telemetry::chain;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::crew::Crew;
use super::metrics::Verb;

/// Members read from the control database at a time.
const PAGE: usize = 5_000;

/// How much later each next of the live workers begins.
const STAGGER: Duration = Duration::from_millis(1500);

/// Pause after a rebuild that failed.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// What the control database knows about rings.
pub trait Rebuild: Send + Sync + 'static {
    /// Allocates a ring epoch, higher than every one before it, whoever asked.
    fn begin_epoch(&self) -> impl Future<Output = Result<u64, RebuildError>> + Send;

    /// One page of at most `limit` members of `ring`, with the time until each is due, in a fixed
    /// order, beginning behind `after`. An empty page is the end.
    fn page(
        &self,
        ring: Ring,
        after: Option<Member>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Member, Duration)>, RebuildError>> + Send;
}

/// What can go wrong while a ring is rebuilt. The rebuild is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The control database failed.
    #[error("read the members of a ring from the control database")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// Redis failed.
    #[error("enter the members of a ring")]
    Queue(#[source] QueueError),
}

/// Rebuilds the ring of `crew` whenever `no_ring` says that it is missing, until dropped.
pub(super) async fn run<R: Rebuild>(
    crew: Arc<Crew>,
    source: Arc<R>,
    no_ring: Arc<Notify>,
    live: watch::Receiver<Vec<WorkerId>>,
) {
    let mut failures = 0_u32;
    loop {
        no_ring.notified().await;
        let rank = live
            .borrow()
            .iter()
            .position(|worker| *worker == crew.worker)
            .unwrap_or(0);
        tokio::time::sleep(STAGGER * u32::try_from(rank).unwrap_or(u32::MAX)).await;
        let begun = Instant::now();
        match rebuild_if_missing(&crew, source.as_ref()).await {
            Ok(None) => {}
            Ok(Some(members)) => {
                failures = 0;
                crew.metrics.rebuilt.increment(1);
                tracing::info!(
                    ring = crew.label(),
                    members,
                    elapsed_s = begun.elapsed().as_secs_f64(),
                    "rebuilt the ring"
                );
            }
            Err(error) => {
                crew.metrics.rebuild_failed.increment(1);
                failures = failures.saturating_add(1);
                if matches!(error, RebuildError::Queue(_)) {
                    crew.metrics.redis_error(Verb::Rebuild);
                }
                tracing::warn!(ring = crew.label(), failures, error = %chain(&error),
                    "failed to rebuild the ring, will go on trying");
                tokio::time::sleep(RETRY.after(failures, u64::from(failures))).await;
            }
        }
        crew.schedule.look_everywhere();
    }
}

async fn rebuild_if_missing<R: Rebuild>(
    crew: &Crew,
    source: &R,
) -> Result<Option<usize>, RebuildError> {
    if missing_shards(crew).await?.is_empty() {
        return Ok(None);
    }
    let members = enter_all(&crew.queue, crew.ring, source).await?;
    let epoch = source.begin_epoch().await?;
    for shard in missing_shards(crew).await? {
        crew.queue
            .begin(shard, epoch)
            .await
            .map_err(RebuildError::Queue)?;
    }
    Ok(Some(members))
}

async fn missing_shards(crew: &Crew) -> Result<Vec<Shard>, RebuildError> {
    let shards: Vec<Shard> = crew.queue.shards(crew.ring).collect();
    let stats = try_join_all(shards.iter().map(|shard| crew.queue.stats(*shard)))
        .await
        .map_err(RebuildError::Queue)?;
    let missing = shards
        .into_iter()
        .zip(stats)
        .filter(|(_, stats)| stats.epoch.is_none());
    Ok(missing.map(|(shard, _)| shard).collect())
}

/// Enters every member of `ring` that is not in the queue; returns how many were not. This is
/// also the audit of a ring that is there.
///
/// # Errors
/// The first failure of either side; entering again later is harmless.
pub async fn enter_all<R: Rebuild>(
    queue: &Queue,
    ring: Ring,
    source: &R,
) -> Result<usize, RebuildError> {
    let mut after = None;
    let mut entered = 0;
    loop {
        let page = source.page(ring, after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(entered);
        };
        after = Some(*last);
        let reply = queue
            .enter(ring, &page)
            .await
            .map_err(RebuildError::Queue)?;
        entered += reply.entered;
    }
}
