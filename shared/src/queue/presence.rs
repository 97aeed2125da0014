//! Which workers serve a ring and live, by Redis time: the ground on which its shards are shared
//! out among them.

use std::time::Duration;

use super::{Queue, QueueError, Ring, keys, reply, scripts};
use crate::ids::WorkerId;

/// Most workers that are listed.
const LIVE_WORKERS_MAX: u16 = 1000;

/// A heartbeat counts for at least a millisecond and at most a day.
const TTL_MS: std::ops::RangeInclusive<u64> = 1..=86_400_000;

impl Queue {
    /// Notes that `worker` lives and serves `ring`, and counts as alive for `ttl` (1 ms to a day)
    /// from now.
    pub async fn heartbeat(
        &self,
        ring: Ring,
        worker: WorkerId,
        ttl: Duration,
    ) -> Result<(), QueueError> {
        let ttl = super::millis(ttl).clamp(*TTL_MS.start(), *TTL_MS.end());
        self.note_worker(ring, worker, ttl).await
    }

    /// Notes that `worker` leaves `ring`, so that others take its shards over at once.
    pub async fn retire_worker(&self, ring: Ring, worker: WorkerId) -> Result<(), QueueError> {
        self.note_worker(ring, worker, 0).await
    }

    /// The workers of `ring` that were heard of within their `ttl`, at most 1,000, ordered by id.
    pub async fn live_workers(&self, ring: Ring) -> Result<Vec<WorkerId>, QueueError> {
        let key = keys::workers(&self.inner.namespace, ring);
        let mut call = scripts::LIVE_WORKERS.call(&[&key], 0);
        call.arg(self.now_argument()).arg(LIVE_WORKERS_MAX);
        let reply = self.inner.link.run(&scripts::LIVE_WORKERS, &call).await?;
        let mut workers = reply::live_workers(reply)?;
        workers.sort_unstable();
        Ok(workers)
    }

    async fn note_worker(
        &self,
        ring: Ring,
        worker: WorkerId,
        ttl_ms: u64,
    ) -> Result<(), QueueError> {
        let key = keys::workers(&self.inner.namespace, ring);
        let mut call = scripts::HEARTBEAT.call(&[&key], 64);
        call.arg(self.now_argument())
            .arg(worker.to_string())
            .arg(ttl_ms);
        reply::heartbeat(self.inner.link.run(&scripts::HEARTBEAT, &call).await?)
    }
}
