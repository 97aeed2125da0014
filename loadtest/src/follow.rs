//! From the request for a follower to the moment that it streams, by a whole system.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;
use shared::agent_api::REPLICATION_ROLE;
use shared::domain::ResourceState;
use shared::http_api::Operation;
use shared::process::{DeathSignal, Lifetime, Signal};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use crate::archiving::{MIB, Programs};
use crate::progress::{Progress, line};
use crate::report::{Bar, Report};
use crate::system::{Customer, System};

/// Name of the original.
const ORIGINAL: &str = "shop";

/// Longest time until the API says that a follower streams, in seconds.
const STREAMS_WITHIN: f64 = 30.0;

/// Mebibytes of one step of pgbench's scale, with its indexes.
const SCALE_MIB: u64 = 15;

/// Between two looks at the follower: no time is told more precisely.
const LOOK: Duration = Duration::from_millis(50);

/// Longest wait for a follower.
const PATIENCE: Duration = Duration::from_mins(5);

/// Options of the follow scenario.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    programs: Programs,

    /// Mebibytes of the database.
    #[arg(long, default_value_t = 1024)]
    mebibytes: u64,

    /// How often it is measured, each time with a new follower; the slowest counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// How long a follower took, from the request on.
struct Took {
    /// Until the API said that it can be read.
    readable: Duration,
    /// Until it was connected to its leader.
    connected: Duration,
    /// Until the API said that it streams: by its newest look, which is made every ten seconds.
    streaming: Duration,
}

impl Took {
    const fn nothing() -> Self {
        Self {
            readable: Duration::ZERO,
            connected: Duration::ZERO,
            streaming: Duration::ZERO,
        }
    }

    /// The slower of both, each time by itself.
    fn max(&self, other: &Self) -> Self {
        Self {
            readable: self.readable.max(other.readable),
            connected: self.connected.max(other.connected),
            streaming: self.streaming.max(other.streaming),
        }
    }
}

/// Measures one follower after the other.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.settings(json!({ "mebibytes": options.mebibytes, "rounds": options.rounds }));
    let system = System::start(&options.programs).await?;
    let original = database(&system, options.mebibytes).await?;
    let mut session = system.operator(&original).await?;
    let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
        .fetch_one(&mut session)
        .await?;
    let directory = tempfile::tempdir().context("make a directory for pgbench")?;
    let log = directory.path().join("pgbench.log");
    let load = ["-n", "-c", "2", "-j", "1", "-T", "36000"];
    let load = original.pgbench_program(&load).await?;
    let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
    let mut load = load.launch(lifetime, &log).await?;
    let mut slowest = Took::nothing();
    for round in 1..=options.rounds {
        let took = follow(&system, &mut session, &format!("reports-{round}")).await?;
        line(&format!(
            "follower {round}: can be read after {:.1?}, is connected after {:.1?}, streams as the \
             API says after {:.1?}",
            took.readable, took.connected, took.streaming
        ));
        slowest = slowest.max(&took);
    }
    load.process().signal(Signal::TERM)?;
    load.wait().await?;
    let mebibytes = f64::from(u32::try_from(bytes.unsigned_abs() / MIB)?);
    report.note("the database", mebibytes, "MiB");
    for (what, time) in [
        ("request until it can be read, slowest", slowest.readable),
        ("request until it is connected, slowest", slowest.connected),
    ] {
        report.note(what, time.as_secs_f64(), "s");
    }
    let what = "request until the API says that it streams, slowest";
    let bar = Bar::AtMost(STREAMS_WITHIN);
    report.judge(what, slowest.streaming.as_secs_f64(), "s", bar);
    drop(session);
    system.stop().await
}

/// A database of a size, with a base backup of all of it.
async fn database(system: &System, mebibytes: u64) -> anyhow::Result<Customer> {
    let progress = Progress::begin(format!("a database of {mebibytes} MiB"), 0);
    let original = system.create(ORIGINAL, "standard").await?;
    system.until_backed_up(ORIGINAL).await?;
    let scale = (mebibytes / SCALE_MIB).max(1).to_string();
    original.pgbench(&["-i", "-s", &scale, "-q"]).await?;
    let path = format!("/v1/resources/{ORIGINAL}/backups");
    let asked: Operation = system.post(&path, &json!({})).await?;
    system.until_succeeded(asked).await?;
    system.until_backed_up(ORIGINAL).await?;
    progress.end("filled and backed up");
    Ok(original)
}

/// Makes a follower, and ends it again once it streams. `leader` is a session of ours at the original.
async fn follow(system: &System, leader: &mut PgConnection, name: &str) -> anyhow::Result<Took> {
    let path = format!("/v1/resources/{ORIGINAL}/followers");
    let begun = Instant::now();
    let _asked: Operation = system.post(&path, &json!({ "name": name })).await?;
    let (mut readable, mut connected) = (None, None);
    let (id, took) = loop {
        let detail = system.detail(name).await?;
        let at = begun.elapsed();
        if detail.resource.state == ResourceState::Available {
            readable.get_or_insert(at);
        }
        if connected.is_none() && is_connected(leader).await? {
            connected = Some(begun.elapsed());
        }
        let streams = detail.lag.as_ref().is_some_and(|lag| lag.streaming);
        if let (Some(readable), Some(connected), true) = (readable, connected, streams) {
            let took = Took {
                readable,
                connected,
                streaming: at,
            };
            break (detail.resource.id, took);
        }
        ensure!(at < PATIENCE, "{detail:#?}: {}", system.log());
        sleep(LOOK).await;
    };
    system.destroy(name, id).await?;
    Ok(took)
}

async fn is_connected(leader: &mut PgConnection) -> anyhow::Result<bool> {
    let query = "select exists (
        select from pg_stat_replication where state = 'streaming' and usename = $1
    )";
    let connected = sqlx::query_scalar(query).bind(REPLICATION_ROLE);
    Ok(connected.fetch_one(leader).await?)
}
