//! Cycles per second: claim, a turn through apalis that does nothing, settle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use shared::queue::{Outcome, Ring};
use tokio::time::{Instant, sleep};
use workers::ring::{Handler, Turn, TurnError};

use super::Options;
use super::scene::{Roster, Scene, float, members};
use crate::cpu;
use crate::progress::Progress;
use crate::report::{Bar, Report};

/// Longest time for a number of laps.
const PATIENCE: Duration = Duration::from_mins(10);

/// A turn that only counts, and is due again at once.
#[derive(Default)]
struct Counting {
    turns: AtomicU64,
}

impl Handler for Counting {
    async fn turn(&self, _turn: &Turn) -> Result<Outcome, TurnError> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Again(Duration::ZERO))
    }
}

/// What one size reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cycles {
    pub(super) per_second: f64,
    /// Processor time of a cycle, in the worker and in Redis, in µs: unlike the rate, it hardly
    /// depends on what else the machine does.
    cost_us: f64,
}

/// The size that the bars are about: rate, and memory over many laps. Returns what it measured.
pub(super) async fn main_size(options: &Options, report: &mut Report) -> anyhow::Result<Cycles> {
    let scene = Scene::set().await?;
    let empty = scene.redis.used_memory().await?;
    scene
        .fill(Ring::Ring, &members(options.members), Duration::ZERO)
        .await?;

    let first_lap = laps(options, &scene, 1).await?;
    let per_member = float(first_lap.saturating_sub(empty)) / float(options.members);
    report.judge(
        "Redis memory per member",
        per_member,
        "bytes",
        Bar::AtMost(200.0),
    );
    let last_lap = laps(options, &scene, options.laps.saturating_sub(1)).await?;
    let growth = 100.0 * (float(last_lap) / float(first_lap) - 1.0);
    report.judge(
        format!("growth of memory after {} laps", options.laps),
        growth,
        "%",
        Bar::AtMost(2.0),
    );

    let cycles = measure(options, &scene, options.members, report).await?;
    report.judge(
        format!("ring cycles, {} members", options.members),
        cycles.per_second,
        "/s",
        Bar::AtLeast(80_000.0),
    );
    scene.redis.stop().await?;
    Ok(cycles)
}

/// The cost of a cycle at other sizes, against the cheapest.
pub(super) async fn other_sizes(
    options: &Options,
    main: Option<Cycles>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut costs: Vec<f64> = main.into_iter().map(|cycles| cycles.cost_us).collect();
    for &size in &options.sizes {
        let scene = Scene::set().await?;
        scene
            .fill(Ring::Ring, &members(size), Duration::ZERO)
            .await?;
        let cycles = measure(options, &scene, size, report).await?;
        report.note(
            format!("ring cycles, {size} members"),
            cycles.per_second,
            "/s",
        );
        costs.push(cycles.cost_us);
        scene.redis.stop().await?;
    }
    let cheapest = costs.iter().copied().fold(f64::MAX, f64::min);
    let dearest = costs.iter().copied().fold(f64::MIN, f64::max);
    let ratio = dearest / cheapest;
    report.judge(
        "cost of a cycle, dearest against cheapest size",
        ratio,
        "×",
        Bar::AtMost(1.4),
    );
    Ok(())
}

/// Turns whole laps and stops; returns the memory of Redis then.
async fn laps(options: &Options, scene: &Scene, laps: u64) -> anyhow::Result<u64> {
    let goal = laps * u64::try_from(options.members)?;
    let progress = Progress::begin(format!("{laps} laps of {} members", options.members), goal);
    let handler = Arc::new(Counting::default());
    let workers = scene
        .start(options, &[Ring::Ring], &handler, &Roster::empty())
        .await?;
    let begun = Instant::now();
    loop {
        let turns = handler.turns.load(Ordering::Relaxed);
        progress.at(turns);
        if turns >= goal {
            break;
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "{turns} of {goal} turns within {PATIENCE:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
    workers.stop().await?;
    let memory = scene.redis.used_memory().await?;
    progress.end(&format!(
        "{:.1} s, {memory} bytes",
        begun.elapsed().as_secs_f64()
    ));
    Ok(memory)
}

/// What one size reaches, after a second to warm up.
async fn measure(
    options: &Options,
    scene: &Scene,
    size: usize,
    report: &mut Report,
) -> anyhow::Result<Cycles> {
    let progress = Progress::begin(format!("cycles, {size} members"), 0);
    let handler = Arc::new(Counting::default());
    let workers = scene
        .start(options, &[Ring::Ring], &handler, &Roster::empty())
        .await?;
    sleep(Duration::from_secs(1)).await;
    let (own, redis) = (std::process::id(), scene.redis.pid());
    let (own_before, redis_before) = (cpu::time_of(own)?, cpu::time_of(redis)?);
    let waited_before = cpu::wait_of(redis)?;
    let (begun, turns_before) = (Instant::now(), handler.turns.load(Ordering::Relaxed));
    sleep(Duration::from_secs(options.seconds)).await;
    let turns = handler.turns.load(Ordering::Relaxed) - turns_before;
    let elapsed = begun.elapsed().as_secs_f64();
    let per_second = float(turns) / elapsed;
    let waited = cpu::wait_of(redis)?
        .saturating_sub(waited_before)
        .as_secs_f64();
    let microseconds = |time: Duration| 1e6 * time.as_secs_f64() / float(turns);
    let worker_cost = microseconds(cpu::time_of(own)?.saturating_sub(own_before));
    let redis_cost = microseconds(cpu::time_of(redis)?.saturating_sub(redis_before));
    workers.stop().await?;
    progress.end(&format!("{per_second:.0}/s"));
    report.note(
        format!("CPU of the worker per cycle, {size} members"),
        worker_cost,
        "µs",
    );
    report.note(
        format!("CPU of Redis per cycle, {size} members"),
        redis_cost,
        "µs",
    );
    // On a machine that is busy otherwise, the rate says little: Redis had work and no core.
    let waited = 100.0 * waited / elapsed;
    report.note(
        format!("Redis waited for a core, {size} members"),
        waited,
        "% of the time",
    );
    Ok(Cycles {
        per_second,
        cost_us: worker_cost + redis_cost,
    })
}
