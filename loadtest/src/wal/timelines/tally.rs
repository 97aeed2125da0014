//! What is counted while timelines are pushed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts of everybody who takes part.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: AtomicU32,
    pub(super) pushes: AtomicU32,
    pub(super) segments: AtomicU32,
    pub(super) agent_requests: AtomicU32,
    pub(super) worker_requests: AtomicU32,
    stored: Mutex<Vec<Stored>>,
}

/// A push that stored something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// How old its oldest WAL was when all was durable, in seconds.
    pub(super) age: f64,
    /// Of them, how long the agent and the store took, in seconds.
    pub(super) took: f64,
}

/// The counts at one moment, or what came to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    /// Calls to agents.
    pub(super) calls: f64,
    /// Of them, pushes that stored something.
    pub(super) pushes: f64,
    /// Segments that were put together.
    pub(super) segments: f64,
    /// Requests to the store that were signed for agents.
    pub(super) agent_requests: f64,
    /// Requests of the worker itself to the store.
    pub(super) worker_requests: f64,
}

impl Tally {
    /// One more.
    pub(super) fn count(of: &AtomicU32) {
        of.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, stored: Stored) {
        Self::count(&self.pushes);
        self.with_stored(|all| all.push(stored));
    }

    /// Every push since the last [`forget`](Self::forget).
    pub(super) fn all_stored(&self) -> Vec<Stored> {
        self.with_stored(|all| all.clone())
    }

    pub(super) fn forget(&self) {
        self.with_stored(Vec::clear);
    }

    fn with_stored<T>(&self, use_them: impl FnOnce(&mut Vec<Stored>) -> T) -> T {
        use_them(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU32| f64::from(count.load(Ordering::Relaxed));
        Counts {
            calls: read(&self.calls),
            pushes: read(&self.pushes),
            segments: read(&self.segments),
            agent_requests: read(&self.agent_requests),
            worker_requests: read(&self.worker_requests),
        }
    }
}

impl Counts {
    /// What came since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            pushes: self.pushes - before.pushes,
            segments: self.segments - before.segments,
            agent_requests: self.agent_requests - before.agent_requests,
            worker_requests: self.worker_requests - before.worker_requests,
        }
    }
}
