//! The time that one look may take.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::failure::Failure;

/// A deadline that does not count the time spent waiting for our own limits: that says nothing
/// about the server.
#[derive(Debug)]
pub(super) struct Budget {
    started: Instant,
    until: Instant,
}

impl Budget {
    /// The time starts now.
    pub(super) fn starting_now(limit: Duration) -> Self {
        let started = Instant::now();
        Self {
            started,
            until: started + limit,
        }
    }

    /// Works for as long as time is left.
    ///
    /// # Errors
    /// [`Failure::Deadline`] when it is over; otherwise as the work.
    pub(super) async fn run<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout_at(self.until, work)
            .await
            .unwrap_or(Err(Failure::Deadline))
    }

    /// Waits without the time running.
    pub(super) async fn pause<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let paused = Instant::now();
        let waited_for = wait.await;
        let pause = paused.elapsed();
        self.started += pause;
        self.until += pause;
        waited_for
    }

    /// Time that was spent so far.
    pub(super) fn spent(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_runs_while_the_server_works_and_not_while_we_wait_for_ourselves() {
        let mut budget = Budget::starting_now(Duration::from_secs(2));
        budget.pause(sleep(Duration::from_mins(1))).await;
        assert_eq!(budget.spent(), Duration::ZERO);
        let work = async {
            sleep(Duration::from_secs(1)).await;
            Ok(7)
        };
        assert_eq!(budget.run(work).await.unwrap(), 7);
        assert_eq!(budget.spent(), Duration::from_secs(1));
        let hanging = budget.run(std::future::pending::<Result<(), _>>()).await;
        assert!(matches!(hanging, Err(Failure::Deadline)));
        assert_eq!(budget.spent(), Duration::from_secs(2));
    }
}
