//! Stages of longer work, logged at their start and end.

use std::error::Error;

use tokio::time::Instant;

use super::chain;

/// A stage under way. Logs `at=start` when it is made and exactly one of `at=finish`, `at=fail`
/// and (if it is dropped) `at=abandon` at its end, with `elapsed` in seconds.
#[derive(Debug)]
#[must_use = "a stage that is dropped logs at=abandon"]
pub struct Stage {
    name: &'static str,
    started: Instant,
    ended: bool,
}

impl Stage {
    /// Begins the stage `name` (an imperative: `migrate`).
    pub fn start(name: &'static str) -> Self {
        tracing::info!(at = "start", stage = name, "{name}");
        Self {
            name,
            started: Instant::now(),
            ended: false,
        }
    }

    /// It reached its goal.
    pub fn finish(mut self) {
        self.ended = true;
        tracing::info!(
            at = "finish",
            stage = self.name,
            elapsed = self.elapsed(),
            "{}",
            self.name
        );
    }

    /// It failed.
    pub fn fail(mut self, error: &(dyn Error + 'static)) {
        self.ended = true;
        let (stage, elapsed) = (self.name, self.elapsed());
        tracing::warn!(at = "fail", stage, elapsed, error = %chain(error), "{stage}");
    }

    /// Seconds since the start, to the millisecond.
    fn elapsed(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.ended {
            tracing::warn!(
                at = "abandon",
                stage = self.name,
                elapsed = self.elapsed(),
                "{}",
                self.name
            );
        }
    }
}
