use std::collections::HashMap;

use chrono::{DateTime, Utc};
use shared::domain::Outage;
use tokio::sync::watch;

use super::*;

/// A store in memory that can be told to fail or to hang.
#[derive(Default)]
struct Memory {
    kept: Mutex<Kept>,
    writes: watch::Sender<usize>,
}

#[derive(Default)]
struct Kept {
    newest: HashMap<ResourceId, Observation>,
    history: Vec<(ResourceId, Observation)>,
    batches: Vec<usize>,
    failures_left: usize,
    refuses_history: bool,
    hangs: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the store was told to fail")]
struct ToldToFail;

impl Memory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    async fn pass(&self) -> Result<(), ToldToFail> {
        if self.kept().hangs {
            std::future::pending::<()>().await;
        }
        let mut kept = self.kept();
        if kept.failures_left > 0 {
            kept.failures_left -= 1;
            return Err(ToldToFail);
        }
        Ok(())
    }

    async fn until(&self, done: impl Fn(&Kept) -> bool) {
        let mut writes = self.writes.subscribe();
        let waited = async {
            while !done(&self.kept()) {
                writes.changed().await.unwrap();
            }
        };
        timeout(Duration::from_mins(10), waited)
            .await
            .expect("the store is written to");
    }
}

impl ObservationStore for Memory {
    type Error = ToldToFail;

    async fn put_newest(&self, batch: &[(ResourceId, Observation)]) -> Result<(), ToldToFail> {
        self.pass().await?;
        self.kept().newest.extend(batch.iter().cloned());
        self.kept().batches.push(batch.len());
        self.writes.send_modify(|writes| *writes += 1);
        Ok(())
    }

    async fn add_history(&self, batch: &[(ResourceId, Observation)]) -> Result<(), ToldToFail> {
        if self.kept().refuses_history {
            return Err(ToldToFail);
        }
        self.pass().await?;
        self.kept().history.extend(batch.iter().cloned());
        self.writes.send_modify(|writes| *writes += 1);
        Ok(())
    }
}

fn observed(seconds: i64) -> Observation {
    let at: DateTime<Utc> = DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap();
    Observation::absent(at, Outage::Refused)
}

/// A writer that writes to `store` while `test` runs, and is then shut down.
async fn while_running(
    config: RecordConfig,
    store: &Memory,
    test: impl AsyncFnOnce(&ObservationWriter),
) {
    let writer = ObservationWriter::new(config);
    let shutdown = CancellationToken::new();
    let tested = async {
        test(&writer).await;
        shutdown.cancel();
    };
    futures::join!(writer.run(store, shutdown.clone()), tested);
}

#[tokio::test(start_paused = true)]
async fn observations_of_a_moment_are_written_together() {
    let store = Memory::default();
    while_running(RecordConfig::default(), &store, async |writer| {
        for second in 0..20 {
            writer.record(ResourceId::new(), &observed(second));
        }
        store.until(|kept| kept.history.len() == 20).await;
    })
    .await;
    assert_eq!(store.kept().batches, [20]);
    assert_eq!(store.kept().newest.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let store = Memory::default();
    let config = RecordConfig {
        batch_max: 10,
        flush_ms: 60_000,
        ..RecordConfig::default()
    };
    while_running(config, &store, async |writer| {
        let started = Instant::now();
        for second in 0..10 {
            writer.record(ResourceId::new(), &observed(second));
        }
        store.until(|kept| kept.history.len() == 10).await;
        assert!(started.elapsed() < Duration::from_mins(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_gets_the_newest_when_it_is_back() {
    let store = Memory::default();
    store.kept().failures_left = 7;
    let resource = ResourceId::new();
    while_running(RecordConfig::default(), &store, async |writer| {
        for second in 0..100 {
            writer.record(resource, &observed(second));
            sleep(Duration::from_millis(10)).await;
        }
        store.until(|kept| kept.history.len() == 2).await;
        store
            .until(|kept| kept.newest.get(&resource) == Some(&observed(99)))
            .await;
    })
    .await;
    assert_eq!(store.kept().failures_left, 0);
    assert_eq!(
        store.kept().history,
        [(resource, observed(0)), (resource, observed(60))]
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_writes_what_waits() {
    let store = Memory::default();
    let config = RecordConfig {
        flush_ms: 60_000,
        ..RecordConfig::default()
    };
    let resource = ResourceId::new();
    while_running(config, &store, async |writer| {
        writer.record(resource, &observed(0));
    })
    .await;
    assert_eq!(store.kept().newest.get(&resource), Some(&observed(0)));
    assert_eq!(store.kept().history, [(resource, observed(0))]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_store_that_hangs() {
    let store = Memory::default();
    store.kept().hangs = true;
    let started = Instant::now();
    while_running(RecordConfig::default(), &store, async |writer| {
        writer.record(ResourceId::new(), &observed(0));
        sleep(Duration::from_secs(1)).await;
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(store.kept().batches.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_written_does_not_hold_up_what_is_newest() {
    let store = Memory::default();
    store.kept().refuses_history = true;
    let resource = ResourceId::new();
    while_running(RecordConfig::default(), &store, async |writer| {
        for second in 0..50 {
            let started = Instant::now();
            writer.record(resource, &observed(second));
            store
                .until(|kept| kept.newest.get(&resource) == Some(&observed(second)))
                .await;
            assert!(started.elapsed() < Duration::from_secs(1));
        }
        store.kept().refuses_history = false;
        store.until(|kept| kept.history.len() == 1).await;
    })
    .await;
}
