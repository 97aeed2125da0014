//! Looking at real databases and deciding: processor time of the worker and of PostgreSQL.
//!
//! Whole turns first: a worker in this process, with everything it does in production, makes a
//! fleet of standard databases and turns them at a quick cadence. This process is the worker; Redis,
//! control database, agents and the databases themselves are processes of their own.
//!
//! Then looks alone, with decision and record: one PostgreSQL with TLS holds all databases; each is
//! felt as if it had a server of its own, over a kept connection of its own, at an even pace, so
//! that every look finds everybody asleep. Between members of a ring some of that is shared, so
//! a whole turn is not the sum of its parts.

mod customers;
mod drive;
mod fleet;
mod postgres;
mod turns;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use shared::process::PostgresInstallations;
use shared::telemetry::MetricsHandle;
use workers::observe::FeelConfig;

use self::customers::Customers;
use self::drive::{Cost, Pace};
use crate::progress::Progress;
use crate::report::{Bar, Report};

/// Most processor time of the worker for one whole turn of a resource.
const WORKER_MICROSECONDS: f64 = 150.0;

/// Most processor time of the customer's PostgreSQL for one look with everything in it.
const POSTGRES_MILLISECONDS: f64 = 2.0;

/// Only the first look of each database has a survey, and that comes before the measurement.
const LOOKS_ONLY: FeelConfig = FeelConfig {
    survey_every_s: u32::MAX,
    survey_shared_every_s: u32::MAX,
    ..FeelConfig::DEFAULT
};

/// Options of the feel scenario.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Databases, each felt over a connection of its own.
    #[arg(long, default_value_t = 20)]
    databases: usize,

    /// Tables in each, with a primary key and some rows.
    #[arg(long, default_value_t = 100)]
    tables: usize,

    /// Databases that a worker makes and turns, each with a server of its own: an agent and a
    /// PostgreSQL.
    #[arg(long, default_value_t = 50)]
    fleet: usize,

    /// The program `ringmaster-agent` [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    agent_binary: Option<PathBuf>,

    /// Runs only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,

    /// Looks in a second, over all databases.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,

    /// Time for which each kind of look is measured, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Whole turns of a worker.
    Turns,
    /// Looks alone, with surveys, and at a shared server.
    Looks,
}

impl Options {
    fn runs(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn agent_binary(&self) -> anyhow::Result<PathBuf> {
        match &self.agent_binary {
            Some(file) => Ok(std::path::absolute(file)?),
            None => Ok(std::env::current_exe()?.with_file_name("ringmaster-agent")),
        }
    }
}

/// Measures whole turns, looks alone, looks with a survey, and looks at a shared server.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    describe(options, report).await?;
    let metrics = shared::telemetry::install_recorder("loadtest")?;
    if options.runs(Part::Turns) {
        turns::run(options, &metrics, report).await?;
    }
    if !options.runs(Part::Looks) {
        return Ok(());
    }
    let making = Progress::begin(
        format!(
            "{} databases of {} tables",
            options.databases, options.tables
        ),
        0,
    );
    let scene = Scene {
        customers: Customers::create(options.databases, options.tables).await?,
        pace: Pace {
            rate: options.rate,
            time: Duration::from_secs(options.seconds),
        },
        metrics,
    };
    making.end("made");
    looks(&scene, report).await?;
    surveys(&scene, options.tables, report).await?;
    neighbours(&scene, report).await?;
    scene.customers.stop().await
}

async fn describe(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let installations = PostgresInstallations::discover(&[]).await;
    let version = installations.newest()?.version.to_string();
    report.version("postgres", version);
    report.settings(json!({
        "fleet": options.fleet,
        "databases": options.databases,
        "tables": options.tables,
        "rate": options.rate,
        "seconds": options.seconds,
    }));
    Ok(())
}

/// Looks between two surveys: what nearly all are.
async fn looks(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let cost = scene.measure("looks", LOOKS_ONLY, false).await?;
    let bar = Bar::AtMost(WORKER_MICROSECONDS);
    report.judge(
        "of it look, decision, record: worker",
        cost.worker_us,
        "µs",
        bar,
    );
    report.note("look: PostgreSQL", cost.postgres_ms, "ms");
    let none = Bar::AtMost(0.0);
    report.judge("connections opened meanwhile", cost.opened, "", none);
    report.note("look: answer, median", cost.answer_ms_p50, "ms");
    report.note("look: answer, 99 of 100", cost.answer_ms_p99, "ms");
    Ok(())
}

/// Looks with a survey each: as nothing but the first look of a minute is.
async fn surveys(scene: &Scene, tables: usize, report: &mut Report) -> anyhow::Result<()> {
    let config = FeelConfig {
        survey_every_s: 0,
        ..LOOKS_ONLY
    };
    let cost = scene
        .measure("looks with a survey each", config, false)
        .await?;
    let what = format!("look with survey of {tables} tables: PostgreSQL");
    let bar = Bar::AtMost(POSTGRES_MILLISECONDS);
    report.judge(what, cost.postgres_ms, "ms", bar);
    report.note("look with survey: worker", cost.worker_us, "µs");
    Ok(())
}

/// The same databases as neighbours on a shared server.
async fn neighbours(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let cost = scene
        .measure("looks over one connection", LOOKS_ONLY, true)
        .await?;
    report.note("look at a shared server: worker", cost.worker_us, "µs");
    report.note(
        "look at a shared server: PostgreSQL",
        cost.postgres_ms,
        "ms",
    );
    Ok(())
}

/// What does not change from one measurement to the next.
struct Scene {
    customers: Customers,
    pace: Pace,
    metrics: MetricsHandle,
}

impl Scene {
    async fn measure(&self, what: &str, config: FeelConfig, shared: bool) -> anyhow::Result<Cost> {
        let progress = Progress::begin(what, self.pace.looks());
        let cost = drive::run(self, config, shared, &progress)
            .await
            .with_context(|| format!("measure {what}"))?;
        progress.end(&format!("{} looks, all answered", cost.looks));
        Ok(cost)
    }
}
