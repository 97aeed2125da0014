//! Pushing WAL: a backlog, beside pgBackRest and WAL-E; as fast as PostgreSQL writes; and how long
//! commits take into the archive.

mod backlog;
mod steady;
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
    Ok(())
}
