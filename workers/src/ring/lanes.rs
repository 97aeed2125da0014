//! The lanes of one ring: each an apalis worker under a monitor, on a task of its own, so that
//! turns use more than one core.

use std::sync::Arc;

use apalis::layers::WorkerBuilderExt as _;
use apalis::layers::catch_panic::CatchPanicLayer;
use apalis_core::monitor::Monitor;
use apalis_core::worker::builder::WorkerBuilder;
use shared::telemetry::chain;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backend::LaneBackend;
use super::crew::Crew;
use super::handler::Handler;
use super::job::Job;
use super::layers::{TurnLayer, TurnService, panicked};

/// Lanes that run until told to stop; dropped, they drop their turns.
pub(super) struct Lanes {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Lanes {
    /// Starts the lanes of `crew`; returns where to send jobs to each.
    pub(super) fn start<H: Handler>(
        crew: &Arc<Crew>,
        handler: &Arc<H>,
    ) -> (Self, Vec<UnboundedSender<Job>>) {
        let layer = TurnLayer::new(Arc::clone(crew), Arc::clone(handler));
        let mut lanes = Self {
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        let senders = (0..crew.settings.lanes.max(1))
            .map(|lane| {
                let (sender, receiver) = unbounded_channel();
                let backend = LaneBackend::new(receiver, layer.clone());
                let name = format!("{}-{lane}", crew.label());
                let timeout = crew.settings.turn_timeout;
                let handler = Arc::clone(handler);
                let monitor = Monitor::new()
                    .register(move |_restarts| {
                        WorkerBuilder::new(name.as_str())
                            .backend(backend.clone())
                            .timeout(timeout)
                            .layer(CatchPanicLayer::with_panic_handler(panicked))
                            .build(TurnService::new(Arc::clone(&handler)))
                    })
                    .should_restart(|_worker, _error| true);
                lanes.tasks.spawn(run(monitor, lanes.stop.clone()));
                sender
            })
            .collect();
        (lanes, senders)
    }

    /// Lets running turns finish, takes up no more. Cancel-safe: dropped, it drops the turns.
    pub(super) async fn finish(&mut self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// Waits until all lanes have ended.
    pub(super) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Drops the turns that still run.
    pub(super) async fn abort(&mut self) {
        self.tasks.shutdown().await;
    }
}

async fn run(monitor: Monitor, stop: CancellationToken) {
    let signal = async move {
        stop.cancelled().await;
        Ok(())
    };
    if let Err(error) = monitor.run_with_signal(signal).await {
        tracing::error!(error = %chain(&error), "a lane ended with an error");
    }
}
