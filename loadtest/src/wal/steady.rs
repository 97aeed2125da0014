//! Time from a commit until its WAL is durable in the archive, under a steady load, by a whole system.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::db::archive::current_epoch;
use shared::process::{DeathSignal, Lifetime};
use shared::units::Lsn;
use sqlx::{Executor as _, PgConnection};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::Options;
use crate::progress::Progress;
use crate::report::{Bar, Report, quantile};
use crate::system::{Customer, System, flush_lsn};

/// Between two commits whose way is followed.
const FOLLOWED_EVERY: Duration = Duration::from_millis(50);

/// Between two looks at the watermark: no delay is told more precisely.
const LOOK: Duration = Duration::from_millis(20);

/// Longest time from the last commit until all are durable.
const PATIENCE: Duration = Duration::from_mins(5);

/// What is measured of one plan.
struct Case {
    plan: &'static str,
    /// Transactions of pgbench a second meanwhile.
    rate: &'static str,
    /// Bar for the middle, in seconds; none without a promise.
    p50: Option<f64>,
    /// Bar for the slowest hundredth, in seconds.
    p99: f64,
}

const CASES: [Case; 2] = [
    Case {
        plan: "premium",
        rate: "200",
        p50: Some(2.5),
        p99: 5.0,
    },
    Case {
        plan: "hobby",
        rate: "20",
        p50: None,
        p99: 65.0,
    },
];

/// Measures the delays of both plans at the same time.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let system = System::start(&options.common.programs).await?;
    system.offer("premium").await?;
    let time = Duration::from_secs(options.steady_seconds);
    let [premium, hobby] = &CASES;
    let databases = (
        database(&system, premium).await?,
        database(&system, hobby).await?,
    );
    let progress = Progress::begin("steady load", 0);
    let (ours, theirs) = tokio::try_join!(
        delays(&system, &databases.0, premium, time),
        delays(&system, &databases.1, hobby, time),
    )?;
    progress.end("measured");
    for (case, mut delays) in CASES.iter().zip([ours, theirs]) {
        let what = format!("commit until durable in the archive, {}", case.plan);
        let p50 = quantile(&mut delays, 50);
        match case.p50 {
            Some(bar) => report.judge(format!("{what}, p50"), p50, "s", Bar::AtMost(bar)),
            None => report.note(format!("{what}, p50"), p50, "s"),
        }
        let p99 = quantile(&mut delays, 99);
        report.judge(format!("{what}, p99"), p99, "s", Bar::AtMost(case.p99));
        report.note(format!("{what}, longest"), quantile(&mut delays, 100), "s");
    }
    system.stop().await
}

/// A database that is filled and backed up.
async fn database(system: &System, case: &Case) -> anyhow::Result<Customer> {
    let progress = Progress::begin(format!("a {} database", case.plan), 0);
    let customer = system.create(case.plan, case.plan).await?;
    system.until_backed_up(case.plan).await?;
    customer.pgbench(&["-i", "-s", "10", "-q"]).await?;
    let mut session = customer.connect().await?;
    session.execute("create table followed (n int)").await?;
    progress.end("made");
    Ok(customer)
}

/// Follows commits for `time` of load, each until it is durable; gives the delays in seconds.
async fn delays(
    system: &System,
    customer: &Customer,
    case: &Case,
    time: Duration,
) -> anyhow::Result<Vec<f64>> {
    let mut session = customer.connect().await?;
    let seconds = time.as_secs().to_string();
    let arguments = ["-n", "-c", "4", "-j", "1", "-R", case.rate, "-T", &seconds];
    let pgbench = customer.pgbench_program(&arguments).await?;
    let directory = tempfile::tempdir().context("make a directory for pgbench")?;
    let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
    let log = directory.path().join("pgbench.log");
    let mut pgbench = pgbench.launch(lifetime, &log).await?;
    let (sender, commits) = unbounded_channel();
    let ((), delays) = tokio::try_join!(
        commit(&mut session, time, sender),
        until_durable(system, customer, commits),
    )?;
    let ended = pgbench.wait().await?;
    ensure!(ended.success(), "pgbench failed: {ended}");
    ensure!(!delays.is_empty(), "no commit was followed");
    Ok(delays)
}

/// Commits rows, and tells of each where its WAL ends and when it was confirmed.
async fn commit(
    session: &mut PgConnection,
    time: Duration,
    commits: UnboundedSender<(Lsn, Instant)>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        session.execute("insert into followed values (1)").await?;
        let at = Instant::now();
        commits.send((flush_lsn(session).await?, at))?;
        sleep(FOLLOWED_EVERY).await;
    }
    Ok(())
}

/// Looks at the watermark until every commit is below it; gives how long each took, in seconds.
async fn until_durable(
    system: &System,
    customer: &Customer,
    mut commits: UnboundedReceiver<(Lsn, Instant)>,
) -> anyhow::Result<Vec<f64>> {
    let mut delays = Vec::new();
    let mut waiting: VecDeque<(Lsn, Instant)> = VecDeque::new();
    while !(commits.is_closed() && commits.is_empty() && waiting.is_empty()) {
        let epoch = current_epoch(&system.control.pool, customer.timeline).await?;
        let (watermark, now) = (epoch.map(|epoch| epoch.watermark), Instant::now());
        while let Ok(next) = commits.try_recv() {
            waiting.push_back(next);
        }
        while let Some((end, at)) = waiting.front().copied() {
            if Some(end) > watermark {
                let waits = now.saturating_duration_since(at);
                ensure!(waits < PATIENCE, "{end} is not pushed: {}", system.log());
                break;
            }
            waiting.pop_front();
            delays.push(now.saturating_duration_since(at).as_secs_f64());
        }
        sleep(LOOK).await;
    }
    Ok(delays)
}
