//! Keeps one service running until it is told to stop.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::screen::note;

/// Pause before the first restart; doubled with each one that follows soon.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// Longest pause between two restarts.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A service that ran for this long is healthy: its next restart is soon again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// Something that runs, may end, and can be started again.
pub(super) trait Service: Send + 'static {
    /// Its name for people.
    fn name(&self) -> &'static str;

    /// Starts it and returns when it is ready. A start that is dropped half way leaves nothing that
    /// a second start would stumble over.
    fn start(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Returns when it has ended by itself. Safe to cancel.
    fn ended(&mut self) -> impl Future<Output = ()> + Send;

    /// Ends it in good order and returns when it is gone.
    fn stop(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A service that is kept running.
#[derive(Debug)]
pub(super) struct Supervised {
    name: &'static str,
    stop: CancellationToken,
    task: JoinSet<Result<(), Failure>>,
}

impl Supervised {
    /// Starts `service`, returns when it is ready, and restarts it from then on when it ends.
    ///
    /// # Errors
    /// That of the start; what had started by then is ended.
    pub(super) async fn start<S: Service>(mut service: S) -> Result<Self, Failure> {
        let name = service.name();
        if let Err(failure) = service.start().await {
            // Half of it may run.
            if let Err(leftover) = service.stop().await {
                note(format!("{name}: {leftover}"));
            }
            return Err(failure);
        }
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(keep_running(service, stop.clone()));
        Ok(Self { name, stop, task })
    }

    /// Its name for people.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Ends it and returns when it is gone. Problems are told: whoever stops goes on with the rest.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        match self.task.join_next().await {
            Some(Ok(Ok(()))) | None => {}
            Some(Ok(Err(failure))) => note(format!("{}: {failure}", self.name)),
            Some(Err(error)) => note(format!("{}: {error}", self.name)),
        }
    }
}

async fn keep_running<S: Service>(mut service: S, stop: CancellationToken) -> Result<(), Failure> {
    let mut pause = PAUSE_MIN;
    loop {
        let started = Instant::now();
        if stop.run_until_cancelled(service.ended()).await.is_none() {
            return service.stop().await;
        }
        if started.elapsed() >= HEALTHY_AFTER {
            pause = PAUSE_MIN;
        }
        note(format!(
            "{} ended; starting it again in {pause:?}",
            service.name()
        ));
        loop {
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return service.stop().await;
            }
            pause = (pause * 2).min(PAUSE_MAX);
            match stop.run_until_cancelled(service.start()).await {
                None => return service.stop().await,
                Some(Ok(())) => break,
                Some(Err(failure)) => {
                    note(format!("{failure}; trying again in {pause:?}"));
                }
            }
        }
        note(format!("{} is back", service.name()));
    }
}

#[cfg(test)]
mod tests;
