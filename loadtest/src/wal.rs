//! Pushing WAL: a backlog, beside pgBackRest and WAL-E; as fast as PostgreSQL writes; how long commits
//! take into the archive; what one worker pushes; what a restore finds of it; and what an idle database
//! costs.

mod backlog;
mod hour;
mod idle;
mod steady;
mod timelines;
mod writing;

use serde_json::json;

use crate::archiving::Common;
use crate::report::Report;

/// Options of the WAL scenario.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,

    /// Mebibytes of the backlog.
    #[arg(long, default_value_t = 1024)]
    mebibytes: u64,

    /// Time for which PostgreSQL writes, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,

    /// Time for which commits are followed on their way into the archive, in seconds.
    #[arg(long, default_value_t = 180)]
    steady_seconds: u64,

    /// Timelines with WAL to push.
    #[arg(long, default_value_t = 1000)]
    timelines: u32,

    /// Plan of the servers of these timelines.
    #[arg(long, default_value = "standard")]
    timelines_plan: String,

    /// Time for which their pushes are measured, in seconds.
    #[arg(long, default_value_t = 120)]
    timelines_seconds: u64,

    /// Time for which a busy database writes whose objects are counted, in seconds.
    #[arg(long, default_value_t = 120)]
    hour_seconds: u64,

    /// Its transactions a second.
    #[arg(long, default_value_t = 300)]
    hour_rate: u32,

    /// Time for which an idle database is watched, in seconds: by default longer than PostgreSQL lets
    /// pass between two checkpoints.
    #[arg(long, default_value_t = 360)]
    idle_seconds: u64,

    /// Runs only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What has gathered is pushed.
    Backlog,
    /// PostgreSQL writes meanwhile, as fast as it can.
    Writing,
    /// How long commits take into the archive.
    Steady,
    /// Many timelines, pushed by one worker.
    Timelines,
    /// How many objects a restore fetches for what a busy database wrote.
    Hour,
    /// What a database costs that nobody uses.
    Idle,
}

impl Options {
    fn runs(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// Measures pushes.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.settings(json!({
        "mebibytes": options.mebibytes,
        "rounds": options.common.rounds,
        "seconds": options.seconds,
        "steady_seconds": options.steady_seconds,
        "timelines": options.timelines,
        "timelines_plan": options.timelines_plan,
        "timelines_seconds": options.timelines_seconds,
        "hour_seconds": options.hour_seconds,
        "hour_rate": options.hour_rate,
        "idle_seconds": options.idle_seconds,
    }));
    if options.runs(Part::Backlog) {
        backlog::run(options, report).await?;
    }
    if options.runs(Part::Writing) {
        writing::run(options, report).await?;
    }
    if options.runs(Part::Steady) {
        steady::run(options, report).await?;
    }
    if options.runs(Part::Timelines) {
        timelines::run(options, report).await?;
    }
    if options.runs(Part::Hour) {
        hour::run(options, report).await?;
    }
    if options.runs(Part::Idle) {
        idle::run(options, report).await?;
    }
    Ok(())
}
