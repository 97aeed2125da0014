//! The queue and the worker loop: cycles per second, memory, latency of wakes, an outage, a
//! rebuild, and what an idle worker costs.

mod baseline;
mod cycles;
mod idle;
mod outage;
mod rebuild;
mod scene;
mod wake;

use serde_json::json;

use crate::redis_process::RedisProcess;
use crate::report::Report;

/// Options of the ring scenario.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Members of the ring.
    #[arg(long, default_value_t = 100_000)]
    members: usize,

    /// Laps for which the growth of memory is measured.
    #[arg(long, default_value_t = 10)]
    laps: u64,

    /// Workers, all in this process.
    #[arg(long, default_value_t = 1)]
    workers: usize,

    /// Time for which each rate is measured, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// Sizes at which the cost of a cycle is compared.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 1_000_000])]
    sizes: Vec<usize>,

    /// Members that each worker holds at a time.
    #[arg(long, default_value_t = 1024)]
    in_flight: usize,

    /// Members asked for in one claim.
    #[arg(long, default_value_t = 128)]
    claim_batch: u16,

    /// Tasks of the runtime that turn members, per worker.
    #[arg(long, default_value_t = 2)]
    lanes: usize,

    /// Wakes whose latency is measured.
    #[arg(long, default_value_t = 500)]
    wakes: usize,

    /// Runs only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Cycles,
    Sizes,
    Baseline,
    Wake,
    Outage,
    Rebuild,
    Idle,
}

impl Options {
    fn runs(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// Runs the parts one after another, each with a Redis of its own.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    describe(options, report).await?;
    let mut cycles = None;
    if options.runs(Part::Cycles) {
        cycles = Some(cycles::main_size(options, report).await?);
    }
    if options.runs(Part::Sizes) {
        cycles::other_sizes(options, cycles, report).await?;
    }
    if options.runs(Part::Baseline) {
        let ours = cycles.map(|cycles| cycles.per_second);
        baseline::run(options, ours, report).await?;
    }
    if options.runs(Part::Wake) {
        wake::run(options, report).await?;
    }
    if options.runs(Part::Outage) {
        outage::run(options, report).await?;
    }
    if options.runs(Part::Rebuild) {
        rebuild::run(options, report).await?;
    }
    if options.runs(Part::Idle) {
        idle::run(options, report).await?;
    }
    Ok(())
}

async fn describe(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let redis = RedisProcess::start().await?;
    report.version("redis-server", redis.version().await?);
    redis.stop().await?;
    report.version("apalis", "1.0");
    report.version("apalis-redis", "1.0");
    report.settings(json!({
        "members": options.members,
        "laps": options.laps,
        "workers": options.workers,
        "seconds": options.seconds,
        "in_flight": options.in_flight,
        "claim_batch": options.claim_batch,
        "lanes": options.lanes,
        "shards": shared::queue::SHARDS_DEFAULT,
    }));
    Ok(())
}
