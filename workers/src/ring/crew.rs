//! What the loops of one ring share.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shared::ids::WorkerId;
use shared::queue::{Queue, Ring, Shard};
use shared::telemetry::chain;

use super::backoff::Backoff;
use super::in_flight::InFlight;
use super::metrics::{RingMetrics, Verb};
use super::schedule::Schedule;
use super::settings::Settings;

/// Back-off of calls to Redis: short at first, because a restart of Redis takes a second.
const REDIS_BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// Longest beat of rings whose members somebody waits for.
const PROMPT: Duration = Duration::from_millis(5);

/// The beat on which a ring is looked for what merely became due.
fn beat(ring: Ring, settings: &Settings) -> Duration {
    match ring {
        Ring::Ring => settings.poll_floor,
        Ring::Urgent | Ring::Jobs | Ring::Archive => settings.poll_floor.min(PROMPT),
    }
}

/// One ring as this worker serves it.
pub(super) struct Crew {
    pub(super) ring: Ring,
    pub(super) queue: Queue,
    pub(super) worker: WorkerId,
    pub(super) settings: Settings,
    pub(super) in_flight: InFlight,
    pub(super) schedule: Schedule,
    pub(super) metrics: RingMetrics,
    failures: AtomicU32,
}

impl Crew {
    pub(super) fn new(queue: Queue, worker: WorkerId, ring: Ring, settings: Settings) -> Self {
        let shards = queue.shards(ring).count();
        let schedule = Schedule::of(shards, settings.poll_cap, beat(ring, &settings));
        Self {
            ring,
            queue,
            worker,
            in_flight: InFlight::with_room_for(settings.in_flight.max(1)),
            schedule,
            metrics: RingMetrics::new(ring),
            settings,
            failures: AtomicU32::new(0),
        }
    }

    /// The ring's name in logs.
    pub(super) fn label(&self) -> &'static str {
        self.ring.as_str()
    }

    pub(super) fn shard(&self, index: u16) -> Shard {
        Shard {
            ring: self.ring,
            index,
        }
    }

    /// Counts a failed call, logs the first of an outage, and says how long to wait.
    pub(super) fn redis_failed(&self, verb: Verb, error: &(dyn Error + 'static)) -> Duration {
        self.metrics.redis_error(verb);
        let failures = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        if failures == 1 {
            tracing::warn!(ring = self.label(), verb = verb.label(), error = %chain(error),
                "Redis failed, will go on trying");
        } else {
            tracing::debug!(ring = self.label(), verb = verb.label(), error = %chain(error), failures,
                "Redis failed again");
        }
        REDIS_BACKOFF.after(failures, u64::from(failures))
    }

    /// Notes that Redis answered.
    pub(super) fn redis_answered(&self) {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        let failures = self.failures.swap(0, Ordering::Relaxed);
        if failures > 0 {
            tracing::info!(ring = self.label(), failures, "Redis answers again");
        }
    }
}
