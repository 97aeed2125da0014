//! Load scenarios with servers of their own: what the system reaches on this machine.
//!
//! One file and one subcommand for each scenario; all write the same report ([`report`]). To add
//! one: a module with a clap struct and `run(&options, &mut report)`, and a line in [`Scenario`].

mod api;
mod archiving;
mod backup;
mod cpu;
mod feel;
mod follow;
mod machine;
mod memory;
mod progress;
mod redis_process;
mod report;
mod restore;
mod ring;
mod system;
mod wal;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use report::Report;
use workers::service::DEFAULT_THREADS;

/// As in the worker, which is measured inside this program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures what the system reaches on this machine.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
struct Cli {
    /// Writes the report as JSON to this file too.
    #[arg(long, global = true, value_name = "FILE")]
    report: Option<PathBuf>,

    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Creates through the API, without a worker.
    Api(api::Options),
    /// The queue and the worker loop, with turns that do nothing.
    Ring(ring::Options),
    /// Looking at real PostgreSQL servers, and deciding.
    Feel(feel::Options),
    /// Pushing WAL into the archive, beside peers.
    Wal(wal::Options),
    /// Base backups, beside peers.
    Backup(backup::Options),
    /// Restoring a base backup, beside peers.
    Restore(restore::Options),
    /// A follower of a database of some size, until it streams.
    Follow(follow::Options),
}

impl Scenario {
    const fn name(&self) -> &'static str {
        match self {
            Self::Api(_) => "api",
            Self::Ring(_) => "ring",
            Self::Feel(_) => "feel",
            Self::Wal(_) => "wal",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Follow(_) => "follow",
        }
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Scenario::Feel(_) = cli.scenario {
        // As a worker runs by default.
        runtime.worker_threads(DEFAULT_THREADS);
    }
    runtime.enable_all().build()?.block_on(run(&cli))
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let mut report = Report::new(cli.scenario.name());
    match &cli.scenario {
        Scenario::Api(options) => api::run(options, &mut report).await?,
        Scenario::Ring(options) => ring::run(options, &mut report).await?,
        Scenario::Feel(options) => feel::run(options, &mut report).await?,
        Scenario::Wal(options) => wal::run(options, &mut report).await?,
        Scenario::Backup(options) => backup::run(options, &mut report).await?,
        Scenario::Restore(options) => restore::run(options, &mut report).await?,
        Scenario::Follow(options) => follow::run(options, &mut report).await?,
    }
    report.print()?;
    if let Some(path) = &cli.report {
        report.write(path)?;
    }
    Ok(())
}
