//! Plain `apalis-redis` 1.0, whose tasks push themselves again: what the worker loop replaces.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use apalis_core::backend::TaskSink as _;
use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_redis::{Config, RedisStorage};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Options;
use super::scene::float;
use crate::progress::Progress;
use crate::redis_process::RedisProcess;
use crate::report::{Bar, Report};

/// Tasks that go round: below the 8,000 at which its fetch fails for good.
const TASKS: u64 = 2_000;

/// Tasks it fetches at a time: more than its default of 10, for the sake of fairness.
const BATCH: usize = 256;

/// Measures it as documented and with everything off that can be, and compares `ours`.
pub(super) async fn run(
    options: &Options,
    ours: Option<f64>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let documented = Config::default().batch_size(BATCH);
    let plain = rate(options, documented.clone(), "plain apalis-redis").await?;
    let bare = documented
        .lock_tasks(false)
        .emit_events(false)
        .persist_results(false);
    let bare = rate(
        options,
        bare,
        "apalis-redis without leases, events and results",
    )
    .await?;
    report.note("plain apalis-redis, push again", plain, "/s");
    report.note(
        "apalis-redis without leases, events and results",
        bare,
        "/s",
    );
    if let Some(ours) = ours {
        report.judge(
            "ring cycles against plain apalis-redis",
            ours / plain,
            "×",
            Bar::AtLeast(6.0),
        );
        report.note(
            "ring cycles against apalis-redis without leases",
            ours / bare,
            "×",
        );
    }
    Ok(())
}

async fn rate(options: &Options, config: Config, what: &str) -> anyhow::Result<f64> {
    let progress = Progress::begin(what, 0);
    let redis = RedisProcess::start().await?;
    let turns = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for index in 0..options.workers.max(1) * options.lanes.max(1) {
        let connection = apalis_redis::connect(redis.url()).await?;
        let mut storage =
            RedisStorage::<u64>::new(connection).with_config(config.clone().queue("cycles"));
        if index == 0 {
            for task in 0..TASKS {
                storage.push(task).await?;
            }
        }
        let worker = WorkerBuilder::new(format!("cycles-{index}"))
            .backend(storage.clone())
            .data(storage)
            .data(Arc::clone(&turns))
            .build(turn);
        workers.spawn(worker.run());
    }
    sleep(Duration::from_secs(1)).await;
    let (begun, before) = (Instant::now(), turns.load(Ordering::Relaxed));
    sleep(Duration::from_secs(options.seconds)).await;
    let rate = float(turns.load(Ordering::Relaxed) - before) / begun.elapsed().as_secs_f64();
    workers.shutdown().await;
    redis.stop().await?;
    progress.end(&format!("{rate:.0}/s"));
    Ok(rate)
}

async fn turn(
    task: u64,
    storage: Data<RedisStorage<u64>>,
    turns: Data<Arc<AtomicU64>>,
) -> Result<(), BoxDynError> {
    turns.fetch_add(1, Ordering::Relaxed);
    let mut storage = RedisStorage::clone(&storage);
    storage.push(task).await?;
    Ok(())
}
