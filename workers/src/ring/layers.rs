//! The layers around a turn, from the outside in: outcome, timeout, panic, handler.
//!
//! [`TurnLayer`] is the backend's own middleware and therefore the outermost: whatever happens
//! inside, it sees a result, counts and logs it, and sends exactly one outcome to the settle loop.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::queue::Outcome;
use shared::telemetry::chain;
use tokio::time::Instant;
use tower::timeout::error::Elapsed;
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::backoff::Backoff;
use super::crew::Crew;
use super::handler::{Failure, FailureKind, Handler, Turn};
use super::job::Job;
use super::metrics::TurnResult;
use super::streaks::Streaks;

/// Longest time that [`Handler::failed`] may take.
const FAILED_TIMEOUT: Duration = Duration::from_secs(10);

/// What follows a failure whose handling failed too.
const AFTER_DOUBLE_FAILURE: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(5));

/// Turns results into outcomes.
pub(super) struct TurnLayer<H> {
    crew: Arc<Crew>,
    handler: Arc<H>,
    streaks: Arc<Streaks>,
}

impl<H> TurnLayer<H> {
    pub(super) fn new(crew: Arc<Crew>, handler: Arc<H>) -> Self {
        Self {
            crew,
            handler,
            streaks: Arc::default(),
        }
    }
}

impl<H> Clone for TurnLayer<H> {
    fn clone(&self) -> Self {
        Self {
            crew: Arc::clone(&self.crew),
            handler: Arc::clone(&self.handler),
            streaks: Arc::clone(&self.streaks),
        }
    }
}

impl<S, H> Layer<S> for TurnLayer<H> {
    type Service = OutcomeService<S, H>;

    fn layer(&self, inner: S) -> Self::Service {
        OutcomeService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service of [`TurnLayer`].
pub(super) struct OutcomeService<S, H> {
    inner: S,
    layer: TurnLayer<H>,
}

impl<S, H> Service<Task<Job>> for OutcomeService<S, H>
where
    S: Service<Task<Job>, Response = Outcome>,
    S::Future: Send + 'static,
    S::Error: Into<BoxDynError> + Send,
    H: Handler,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<(), BoxDynError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut task: Task<Job>) -> Self::Future {
        let layer = self.layer.clone();
        let turn = task.args.turn.clone();
        let duty = task.args.duty.take();
        let member = turn.member();
        let span = tracing::debug_span!("turn", ring = layer.crew.label(),
            member.kind = member.kind.as_str(), member.id = %member.id);
        let begun = Instant::now();
        let inner = self.inner.call(task);
        let conclusion = async move {
            let result = inner.await.map_err(Into::into);
            let outcome = layer.conclude(&turn, result, begun).await;
            if let Some(duty) = duty {
                duty.fulfil(outcome);
            }
            Ok(())
        };
        Box::pin(conclusion.instrument(span))
    }
}

impl<H: Handler> TurnLayer<H> {
    /// Counts and logs how a turn ended, and says what to settle.
    async fn conclude(
        &self,
        turn: &Turn,
        result: Result<Outcome, BoxDynError>,
        begun: Instant,
    ) -> Outcome {
        let kind = turn.member().kind;
        let seconds = begun.elapsed().as_secs_f64();
        let error = match result {
            Ok(outcome) => {
                let label = match outcome {
                    Outcome::Again(_) => TurnResult::Again,
                    Outcome::Done => TurnResult::Done,
                };
                self.crew.metrics.turn_ended(kind, label, seconds);
                self.streaks.end(turn.member());
                tracing::debug!(
                    turn.result = label.label(),
                    turn.duration_s = seconds,
                    "turned"
                );
                return outcome;
            }
            Err(error) => error,
        };
        let (label, failure_kind) = classify(error.as_ref());
        self.crew.metrics.turn_ended(kind, label, seconds);
        let failure = Failure {
            kind: failure_kind,
            streak: self.streaks.lengthen(turn.member()),
            message: chain(error.as_ref()).to_string(),
        };
        tracing::warn!(ring = self.crew.label(), member.kind = kind.as_str(),
            member.id = %turn.member().id, turn.result = label.label(),
            turn.duration_s = seconds, turn.streak = failure.streak, error = %failure.message,
            "turn failed");
        self.after(turn, &failure).await
    }

    /// Asks the handler what follows; if that fails too, decides without it.
    async fn after(&self, turn: &Turn, failure: &Failure) -> Outcome {
        let asked = AssertUnwindSafe(self.handler.failed(turn, failure)).catch_unwind();
        if let Ok(Ok(outcome)) = tokio::time::timeout(FAILED_TIMEOUT, asked).await {
            return outcome;
        }
        tracing::error!(ring = self.crew.label(), member.id = %turn.member().id,
            "handling a failed turn panicked or took too long");
        Outcome::Again(AFTER_DOUBLE_FAILURE.after(failure.streak, turn.salt()))
    }
}

/// A turn that panicked.
#[derive(Debug, thiserror::Error)]
#[error("the turn panicked: {0}")]
pub(super) struct Panicked(String);

pub(super) fn panicked(payload: &Box<dyn Any + Send>) -> Panicked {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Panicked(text.unwrap_or_else(|| "no message".to_owned()))
}

fn classify(error: &(dyn std::error::Error + 'static)) -> (TurnResult, FailureKind) {
    if error.is::<Elapsed>() {
        (TurnResult::Timeout, FailureKind::Timeout)
    } else if error.is::<Panicked>() {
        (TurnResult::Panic, FailureKind::Panic)
    } else {
        (TurnResult::Error, FailureKind::Error)
    }
}

/// The innermost service: the handler.
pub(super) struct TurnService<H>(Arc<H>);

impl<H> TurnService<H> {
    pub(super) fn new(handler: Arc<H>) -> Self {
        Self(handler)
    }
}

impl<H: Handler> Service<Task<Job>> for TurnService<H> {
    type Response = Outcome;
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<Outcome, BoxDynError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Job>) -> Self::Future {
        let handler = Arc::clone(&self.0);
        Box::pin(async move { handler.turn(&task.args.turn).await })
    }
}
