//! Records observations in the control database: gathered for a moment, written together.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::metrics::{counter, gauge, histogram};
use shared::domain::Observation;
use shared::ids::ResourceId;
use shared::telemetry::chain;
use shared::telemetry::metrics::fleet::{
    OBSERVATION_BATCH, OBSERVATION_WRITES_FAILED, OBSERVATIONS_DROPPED, OBSERVATIONS_WAITING,
    OBSERVATIONS_WRITTEN,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::waiting::{Batch, Lane, Waiting};
use super::{ObservationStore, RecordConfig};

/// Pause after the first failed write; doubled after each further one.
const RETRY_FIRST: Duration = Duration::from_millis(200);

/// Longest pause between two tries.
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Longest time at shutdown until everything must be written.
const LAST_WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Between two rounds of forgetting resources that are gone.
const FORGET_EVERY: Duration = Duration::from_mins(10);

/// Takes observations to be recorded. Never blocks and never fails: while the control database does
/// not answer, the newest of each resource is kept. Cheap to clone.
#[derive(Clone)]
pub struct ObservationWriter(Arc<Shared>);

struct Shared {
    config: RecordConfig,
    waiting: Mutex<Waiting>,
    newest: Signals,
    history: Signals,
}

/// What wakes a lane.
#[derive(Default)]
struct Signals {
    /// Something waits that did not before.
    some: Notify,
    /// Enough for a whole batch waits.
    full: Notify,
}

impl ObservationWriter {
    /// A writer that needs [`ObservationWriter::run`] to write.
    pub fn new(config: RecordConfig) -> Self {
        Self(Arc::new(Shared {
            config,
            waiting: Mutex::new(Waiting::new(config)),
            newest: Signals::default(),
            history: Signals::default(),
        }))
    }

    /// Takes an observation: the newest of its resource, and a sample of the history if it is time
    /// for one or if the availability changed.
    pub fn record(&self, resource: ResourceId, observation: &Observation) {
        let mut waiting = self.waiting();
        let before = Lane::ALL.map(|lane| waiting.len(lane));
        waiting.add(resource, observation);
        for (lane, before) in Lane::ALL.into_iter().zip(before) {
            if before == 0 && waiting.len(lane) > 0 {
                self.signals(lane).some.notify_one();
            }
            if waiting.is_full(lane) {
                self.signals(lane).full.notify_one();
            }
        }
    }

    /// Writes until `shutdown`, and then, for a few seconds at most, what still waits.
    pub async fn run(&self, store: &impl ObservationStore, shutdown: CancellationToken) {
        futures::join!(
            self.run_lane(Lane::Newest, store, &shutdown),
            self.run_lane(Lane::History, store, &shutdown),
        );
    }

    async fn run_lane(
        &self,
        lane: Lane,
        store: &impl ObservationStore,
        shutdown: &CancellationToken,
    ) {
        let mut forgot_at = Instant::now();
        let writing = async {
            loop {
                self.gathered(lane).await;
                self.write_all(lane, store).await;
                if forgot_at.elapsed() >= FORGET_EVERY {
                    forgot_at = Instant::now();
                    self.waiting().forget_gone();
                }
            }
        };
        let _: Option<Infallible> = shutdown.run_until_cancelled(writing).await;
        let last = timeout(LAST_WRITE_PATIENCE, self.write_all(lane, store)).await;
        if last.is_err() {
            let waiting = self.waiting().len(lane);
            tracing::warn!(
                ?lane,
                waiting,
                "observations were not recorded before shutdown"
            );
        }
    }

    /// Waits until something is to be written, and for more of it.
    async fn gathered(&self, lane: Lane) {
        let signals = self.signals(lane);
        if self.waiting().len(lane) == 0 {
            signals.some.notified().await;
        }
        let full = self.waiting().is_full(lane);
        if !full {
            drop(timeout(self.0.config.flush_every(), signals.full.notified()).await);
        }
    }

    /// Writes everything that waits, however often that has to be tried.
    async fn write_all(&self, lane: Lane, store: &impl ObservationStore) {
        let mut pause = RETRY_FIRST;
        while self.waiting().len(lane) > 0 {
            if self.write_one_batch(lane, store).await {
                pause = RETRY_FIRST;
            } else {
                sleep(pause).await;
                pause = (pause * 2).min(RETRY_LONGEST);
            }
        }
    }

    /// Whether it was written. Otherwise it waits again, also if this is dropped half-way.
    async fn write_one_batch(&self, lane: Lane, store: &impl ObservationStore) -> bool {
        let mut in_hand = InHand {
            batch: self.waiting().take(lane),
            lane,
            writer: self,
        };
        let batch = &in_hand.batch;
        let written = match lane {
            Lane::Newest => noted("newest", batch.len(), store.put_newest(batch).await),
            Lane::History => noted("history", batch.len(), store.add_history(batch).await),
        };
        if written {
            in_hand.batch.clear();
        }
        drop(in_hand);
        self.report();
        written
    }

    fn report(&self) {
        let mut waiting = self.waiting();
        let count: usize = Lane::ALL.iter().map(|lane| waiting.len(*lane)).sum();
        gauge!(OBSERVATIONS_WAITING).set(to_f64(count));
        let dropped = waiting.take_dropped();
        if dropped > 0 {
            counter!(OBSERVATIONS_DROPPED).increment(dropped);
        }
    }

    fn signals(&self, lane: Lane) -> &Signals {
        match lane {
            Lane::Newest => &self.0.newest,
            Lane::History => &self.0.history,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch that is being written. What is left of it in the end was not written.
struct InHand<'w> {
    batch: Batch,
    lane: Lane,
    writer: &'w ObservationWriter,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let left = std::mem::take(&mut self.batch);
        self.writer.waiting().give_back(self.lane, left);
    }
}

/// Counts a write, and whether it succeeded.
fn noted<E>(table: &'static str, written: usize, outcome: Result<(), E>) -> bool
where
    E: std::error::Error + 'static,
{
    match outcome {
        Ok(()) => {
            let written_u64 = u64::try_from(written).unwrap_or(u64::MAX);
            counter!(OBSERVATIONS_WRITTEN, "table" => table).increment(written_u64);
            histogram!(OBSERVATION_BATCH).record(to_f64(written));
            true
        }
        Err(error) => {
            counter!(OBSERVATION_WRITES_FAILED).increment(1);
            tracing::warn!(table, error = %chain(&error), "failed to record observations");
            false
        }
    }
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
