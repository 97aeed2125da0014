use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::*;
use crate::failure::FailureKind;

/// A service that ends when it is told to, and tells what is done to it.
struct Fragile {
    end: Arc<Notify>,
    told: mpsc::UnboundedSender<&'static str>,
    failing_starts: u32,
}

impl Service for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    async fn start(&mut self) -> Result<(), Failure> {
        if self.failing_starts > 0 {
            self.failing_starts -= 1;
            self.told.send("failed start").unwrap();
            return Err(Failure::new(FailureKind::Failed, "not yet"));
        }
        self.told.send("started").unwrap();
        Ok(())
    }

    async fn ended(&mut self) {
        self.end.notified().await;
        self.failing_starts = 2;
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        self.told.send("stopped").unwrap();
        Ok(())
    }
}

fn fragile() -> (Fragile, Arc<Notify>, mpsc::UnboundedReceiver<&'static str>) {
    let (told, telling) = mpsc::unbounded_channel();
    let end = Arc::new(Notify::new());
    let service = Fragile {
        end: Arc::clone(&end),
        told,
        failing_starts: 0,
    };
    (service, end, telling)
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ends_is_started_until_it_runs_again() {
    let (service, end, mut telling) = fragile();
    let supervised = Supervised::start(service).await.unwrap();
    assert_eq!(telling.recv().await, Some("started"));
    end.notify_one();
    for expected in ["failed start", "failed start", "started"] {
        assert_eq!(telling.recv().await, Some(expected));
    }
    supervised.stop().await;
    assert_eq!(telling.recv().await, Some("stopped"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_at_first_is_reported_and_not_kept() {
    let (mut service, _end, mut telling) = fragile();
    service.failing_starts = 1;
    assert!(Supervised::start(service).await.is_err());
    for expected in [Some("failed start"), Some("stopped"), None] {
        assert_eq!(telling.recv().await, expected);
    }
}
