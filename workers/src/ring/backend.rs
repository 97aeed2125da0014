//! An apalis backend over a channel: the claim loop feeds it, a layer drains it.
//!
//! It is ephemeral on purpose. What is durable about a member is in the control database, and
//! what is shared is in the queue; the storage of `apalis-redis` is not used (`docs/decisions/`).

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::task_id::RandomId;
use apalis_core::worker::context::WorkerContext;
use tokio::sync::mpsc::UnboundedReceiver;

use super::job::Job;
use super::layers::TurnLayer;

/// The receiving end of one lane. Clones share it, so that a restarted apalis worker goes on with
/// what its predecessor left.
pub(super) struct LaneBackend<H> {
    jobs: Arc<Mutex<UnboundedReceiver<Job>>>,
    layer: TurnLayer<H>,
}

impl<H> LaneBackend<H> {
    pub(super) fn new(jobs: UnboundedReceiver<Job>, layer: TurnLayer<H>) -> Self {
        Self {
            jobs: Arc::new(Mutex::new(jobs)),
            layer,
        }
    }
}

impl<H> Clone for LaneBackend<H> {
    fn clone(&self) -> Self {
        Self {
            jobs: Arc::clone(&self.jobs),
            layer: self.layer.clone(),
        }
    }
}

impl<H> Backend for LaneBackend<H> {
    type Task = Task<Job>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _cx: &mut Context<'_>,
        _worker: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _worker: &WorkerContext,
    ) -> Poll<Option<Result<Task<Job>, Infallible>>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.poll_recv(cx)
            .map(|job| job.map(|job| Ok(Task::new(job))))
    }

    /// Hands back what was claimed and not begun: dropping a job does that.
    fn poll_close(
        &mut self,
        _cx: &mut Context<'_>,
        _worker: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.close();
        while jobs.try_recv().is_ok() {}
        Poll::Ready(Ok(()))
    }
}

impl<H> BackendConfig for LaneBackend<H> {
    type Args = Job;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = TurnLayer<H>;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _worker: &mut WorkerContext) -> TurnLayer<H> {
        self.layer.clone()
    }
}
