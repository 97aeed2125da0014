//! Whole turns, as the worker of a fleet makes them: claim, row, look, decision, observation,
//! settlement; with its sweeps, its housekeeping and what each second costs anyway.

use std::time::Duration;

use anyhow::ensure;
use shared::telemetry::MetricsHandle;
use shared::telemetry::metrics::ring::TURNS;
use tokio::time::sleep;

use super::drive::time_on_processor;
use super::fleet::Fleet;
use super::{Options, WORKER_MICROSECONDS};
use crate::progress::Progress;
use crate::report::{Bar, Report};

/// The pace of servers while turns of resources are measured: that of production.
const SERVERS_IN_PRODUCTION: Duration = Duration::from_secs(10);

/// The quickest cadence that a plan may have.
const QUICKEST: Duration = Duration::from_millis(100);

/// Measures turns of resources, and of resources with their servers.
pub(super) async fn run(
    options: &Options,
    metrics: &MetricsHandle,
    report: &mut Report,
) -> anyhow::Result<()> {
    let each = Duration::from_secs(1) * u32::try_from(options.fleet)? / options.rate;
    ensure!(
        each >= QUICKEST,
        "{} databases cannot be turned {} times a second: a cadence is {QUICKEST:?} or more",
        options.fleet,
        options.rate
    );
    let fleet = Fleet::create(options.fleet, &options.agent_binary()?, each).await?;
    let time = Duration::from_secs(options.seconds);

    fleet.turn_every(each, SERVERS_IN_PRODUCTION).await?;
    let alone = measure(&fleet, metrics, time, "turns of resources").await?;
    let bar = Bar::AtMost(WORKER_MICROSECONDS);
    report.judge("turn of a resource: worker", alone.worker_us, "µs", bar);
    report.note("turns of resources", alone.resources_per_s, "/s");
    report.note("turns of servers meanwhile", alone.servers_per_s, "/s");

    // Half as often, so that there are as many turns in all.
    fleet.turn_every(each * 2, each * 2).await?;
    let both = measure(&fleet, metrics, time, "turns of resources and servers").await?;
    report.note(
        "turn of a resource and one of its server: worker",
        both.worker_us,
        "µs",
    );
    report.note("turns of each", both.servers_per_s, "/s");
    fleet.stop().await
}

/// What was turned, and what a turn of a resource cost with all that came with it.
struct Turned {
    worker_us: f64,
    resources_per_s: f64,
    servers_per_s: f64,
}

async fn measure(
    fleet: &Fleet,
    metrics: &MetricsHandle,
    time: Duration,
    what: &str,
) -> anyhow::Result<Turned> {
    let progress = Progress::begin(what, 0);
    let before = Count::read(metrics);
    let worker_before = time_on_processor(std::process::id())?;
    sleep(time).await;
    let worker = time_on_processor(std::process::id())?.saturating_sub(worker_before);
    let after = Count::read(metrics);
    let resources = after.resources - before.resources;
    ensure!(resources > 0.0, "no resource was turned");
    let others = after.others - before.others;
    ensure!(others < 1.0, "{others} turns did not go as they should");
    ensure!(
        fleet.available().await? == fleet.resources.len(),
        "not all databases stayed available"
    );
    progress.end(&format!("{resources} turns of resources, all well"));
    Ok(Turned {
        worker_us: worker.as_secs_f64() * 1e6 / resources,
        resources_per_s: resources / time.as_secs_f64(),
        servers_per_s: (after.servers - before.servers) / time.as_secs_f64(),
    })
}

/// Turns so far.
struct Count {
    resources: f64,
    servers: f64,
    /// Of jobs, and such that failed.
    others: f64,
}

impl Count {
    fn read(metrics: &MetricsHandle) -> Self {
        let mut count = Self {
            resources: 0.0,
            servers: 0.0,
            others: 0.0,
        };
        let text = metrics.render();
        for line in text.lines().filter(|line| line.starts_with(TURNS)) {
            let Some(value) = line
                .rsplit_once(' ')
                .and_then(|(_, value)| value.parse::<f64>().ok())
            else {
                continue;
            };
            let is = |label: &str| line.contains(label);
            match () {
                () if is("kind=\"resource\"") && is("result=\"again\"") => count.resources += value,
                () if is("kind=\"server\"") && is("result=\"again\"") => count.servers += value,
                () => count.others += value,
            }
        }
        count
    }
}
