//! Wakes of the queue, after the commit and beside the answer: a request never waits for Redis.
//!
//! A wake that fails, or that this process does not live to send, is made up for by the audit of
//! the workers, which finds the row without a member.

use std::sync::Arc;
use std::time::Duration;

use shared::queue::{Member, Queue, Ring};
use shared::telemetry::{chain, metrics::http::HTTP_WAKES_FAILED};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// Most wakes under way; while Redis is away, more are not worth their memory.
const UNDER_WAY_MAX: usize = 256;

/// Longest time a wake may take: the audit is quicker than something that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends wakes.
#[derive(Debug)]
pub(crate) struct Wakes {
    queue: Queue,
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Wakes {
    pub(crate) fn new(queue: Queue) -> Self {
        Self {
            queue,
            tasks: TaskTracker::new(),
            room: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        }
    }

    /// Wakes a member, soon.
    pub(crate) fn wake(&self, (ring, member): (Ring, Member)) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            metrics::counter!(HTTP_WAKES_FAILED).increment(1);
            tracing::warn!(%member, "wake left to the audit: too many are under way");
            return;
        };
        let queue = self.queue.clone();
        let wake = async move {
            let answer = tokio::time::timeout(PATIENCE, queue.wake(ring, member)).await;
            drop(room);
            let error = match answer {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => chain(&error).to_string(),
                Err(_) => "Redis did not answer in time".to_owned(),
            };
            metrics::counter!(HTTP_WAKES_FAILED).increment(1);
            tracing::warn!(%member, error, "wake left to the audit");
        };
        self.tasks.spawn(wake.in_current_span());
    }

    /// Waits for the wakes that are under way, before the process ends.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
