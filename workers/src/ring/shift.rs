//! One worker from start to shutdown: its crews, and the order in which they end.

use std::sync::Arc;
use std::time::Duration;

use shared::ids::WorkerId;
use shared::queue::{Queue, Ring};
use shared::telemetry::chain;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::crew::Crew;
use super::handler::Handler;
use super::lanes::Lanes;
use super::rebuild::Rebuild;
use super::settings::Settings;
use super::{claims, keeper, owners, rebuild, settles, wakes};

/// Time for the last settlements after the turns have ended or were dropped.
const LAST_SETTLES: Duration = Duration::from_secs(5);

/// A worker that turns rings with one handler.
pub struct RingWorker<H, R> {
    /// The queue.
    pub queue: Queue,
    /// This worker's id, new for each process.
    pub worker: WorkerId,
    /// Sizes and times, and which rings to serve.
    pub settings: Settings,
    /// What a turn does.
    pub handler: Arc<H>,
    /// Where a missing ring is rebuilt from.
    pub source: Arc<R>,
}

/// A loop of the worker ended, which is a bug; the process should end and be started again.
#[derive(Debug, thiserror::Error)]
#[error("the worker loop of ring {ring} ended by itself")]
pub struct RingError {
    /// The ring that is no longer turned.
    pub ring: Ring,
}

impl<H: Handler, R: Rebuild> RingWorker<H, R> {
    /// Turns the rings until `stop`; then stops claiming, lets turns finish for the time of
    /// grace, hands back the rest, settles, and leaves.
    ///
    /// Dropped, it stops at once without settling, as if the process had been killed: its members
    /// are taken over when their leases end.
    ///
    /// # Errors
    /// [`RingError`] if a loop ended by itself. Errors of Redis do not end it.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RingError> {
        let mut rings = self.settings.rings.clone();
        rings.sort_unstable();
        rings.dedup();
        let crews: Vec<Arc<Crew>> = rings
            .into_iter()
            .map(|ring| {
                let (queue, settings) = (self.queue.clone(), self.settings.clone());
                Arc::new(Crew::new(queue, self.worker, ring, settings))
            })
            .collect();
        let mut shifts = JoinSet::new();
        for crew in &crews {
            let (handler, source) = (Arc::clone(&self.handler), Arc::clone(&self.source));
            shifts.spawn(work(Arc::clone(crew), handler, source, stop.clone()));
        }
        let mut listener = JoinSet::new();
        listener.spawn(wakes::run(self.queue.clone(), crews));
        tracing::info!(worker.id = %self.worker, "worker started");
        let mut result = Ok(());
        while let Some(ended) = shifts.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    stop.cancel();
                    result = Err(error);
                }
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        tracing::info!(worker.id = %self.worker, "worker stopped");
        result
    }
}

/// Serves one ring.
async fn work<H: Handler, R: Rebuild>(
    crew: Arc<Crew>,
    handler: Arc<H>,
    source: Arc<R>,
    stop: CancellationToken,
) -> Result<(), RingError> {
    let (live_sender, live) = watch::channel(vec![crew.worker]);
    let no_ring = Arc::new(Notify::new());
    let mut support = JoinSet::new();
    support.spawn(keeper::run(Arc::clone(&crew)));
    support.spawn(owners::run(Arc::clone(&crew), live_sender));
    support.spawn(rebuild::run(
        Arc::clone(&crew),
        source,
        Arc::clone(&no_ring),
        live,
    ));

    let (mut lanes, senders) = Lanes::start(&crew, &handler);
    let (ends, outcomes) = mpsc::unbounded_channel();
    let mut settling = JoinSet::new();
    settling.spawn(settles::run(Arc::clone(&crew), outcomes));
    let sinks = claims::Sinks {
        lanes: senders,
        ends,
        no_ring,
    };
    let stop_claiming = stop.child_token();
    let mut claiming = JoinSet::new();
    claiming.spawn(claims::run(Arc::clone(&crew), sinks, stop_claiming.clone()));

    let failed = tokio::select! {
        biased;
        () = stop.cancelled() => false,
        _ = support.join_next() => true,
        _ = settling.join_next() => true,
        _ = claiming.join_next() => true,
        () = lanes.ended() => true,
    };
    stop_claiming.cancel();
    wind_up(&crew, lanes, claiming, settling).await;
    support.shutdown().await;
    leave(&crew).await;
    if failed {
        Err(RingError { ring: crew.ring })
    } else {
        Ok(())
    }
}

/// Ends the loops in the order in which they feed each other.
async fn wind_up(
    crew: &Crew,
    mut lanes: Lanes,
    mut claiming: JoinSet<()>,
    mut settling: JoinSet<()>,
) {
    let grace_ends = Instant::now() + crew.settings.grace;
    let claims_and_turns = async {
        while claiming.join_next().await.is_some() {}
        lanes.finish().await;
    };
    if tokio::time::timeout_at(grace_ends, claims_and_turns)
        .await
        .is_err()
    {
        tracing::warn!(
            ring = crew.label(),
            members = crew.in_flight.len(),
            "turns outlived the time of grace and are dropped"
        );
        crew.in_flight.lose_all();
        claiming.shutdown().await;
        lanes.abort().await;
    }
    // Every sender is gone now, so the settle loop ends by itself.
    let settled = async { while settling.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_SETTLES, settled).await.is_err() {
        tracing::warn!(
            ring = crew.label(),
            members = crew.in_flight.len(),
            "the last settlements did not reach Redis; the leases will run out"
        );
    }
}

async fn leave(crew: &Crew) {
    let left = crew.queue.retire_worker(crew.ring, crew.worker);
    match tokio::time::timeout(Duration::from_secs(1), left).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(error = %chain(&error), "failed to leave the live workers");
        }
        Err(_) => tracing::debug!("leaving the live workers took too long"),
    }
}
