//! A turn of a real worker that stops at every border until it is told to go on.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::ids::WorkerId;
use shared::queue::{Claim, Outcome};
use shared::telemetry::chain;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use workers::context::{Border, Borders, Context, Gate};
use workers::ring::{Failure, FailureKind, Handler as _, Lease, Turn};
use workers::turns::Turns;

/// What the worker believes of its lease: a worker that notices that it lost one stops by itself,
/// and what holds it back must not be that.
const BELIEVED_LEASE: Duration = Duration::from_hours(24);

struct Arrival {
    border: Border,
    goes_on: oneshot::Sender<()>,
}

struct Barrier(mpsc::UnboundedSender<Arrival>);

impl Gate for Barrier {
    fn pass(&self, border: Border) -> BoxFuture<'_, ()> {
        async move {
            let (goes_on, told) = oneshot::channel();
            if self.0.send(Arrival { border, goes_on }).is_ok() {
                // An error is the end of the play: then the turn goes on unwatched.
                drop(told.await);
            }
        }
        .boxed()
    }
}

/// Where a turn has come to.
pub(super) enum Came {
    /// It waits at a border.
    To(Border),
    /// It is over.
    ToItsEnd(Outcome),
}

/// A turn under way. Dropped, its worker has died.
pub(super) struct Going {
    pub(super) claim: Claim,
    /// Who claimed it.
    pub(super) worker: WorkerId,
    turn: BoxFuture<'static, Outcome>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    waits: Option<oneshot::Sender<()>>,
}

impl Going {
    /// The turn of `worker` with `claim`, not begun yet.
    pub(super) fn new(worker: &Context, claim: Claim) -> Self {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let context = Context {
            borders: Borders::with(Arc::new(Barrier(sender))),
            ..worker.clone()
        };
        let turn = Turn::new(claim, Lease::until(Instant::now() + BELIEVED_LEASE));
        Self {
            claim,
            worker: worker.worker,
            turn: take(context, turn).boxed(),
            arrivals,
            waits: None,
        }
    }

    /// Goes on to the next border, or to the end.
    pub(super) async fn go_on(&mut self) -> Came {
        if let Some(waits) = self.waits.take() {
            waits.send(()).expect("the turn waits at its border");
        }
        tokio::select! {
            biased;
            outcome = &mut self.turn => Came::ToItsEnd(outcome),
            Some(Arrival { border, goes_on }) = self.arrivals.recv() => {
                self.waits = Some(goes_on);
                Came::To(border)
            }
        }
    }
}

/// What a worker does with a claim: the turn, and what follows if it fails.
async fn take(context: Context, turn: Turn) -> Outcome {
    let writer = context.observations.clone();
    let store = context.pool.clone();
    let turns = Turns::new(context);
    let outcome = match turns.turn(&turn).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::info!(error = %chain(error.as_ref()), "a turn failed");
            let failure = Failure {
                kind: FailureKind::Error,
                streak: 1,
                message: chain(error.as_ref()).to_string(),
            };
            turns.failed(&turn, &failure).await
        }
    };
    let at_once = tokio_util::sync::CancellationToken::new();
    at_once.cancel();
    writer.run(&store, at_once).await;
    outcome
}
