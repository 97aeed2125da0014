//! Time from a commit until its WAL is durable in the archive, under a steady load.
//!
//! The pushes come at the interval of a premium plan, straight from here: the ring of a worker, its
//! rows, and its jitter are not part of this.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::process::{DeathSignal, Lifetime};
use shared::units::Lsn;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Options;
use crate::archiving::postgres::Session;
use crate::archiving::{Pusher, Server};
use crate::progress::Progress;
use crate::report::{Bar, Report};

/// Between two pushes of a premium database.
const INTERVAL: Duration = Duration::from_secs(2);

/// Between two commits whose way is followed.
const FOLLOWED_EVERY: Duration = Duration::from_millis(10);

/// Transactions of pgbench a second.
const RATE: &str = "200";

/// Bars for the middle and the slowest hundredth, in seconds.
const P50: f64 = 2.5;
const P99: f64 = 5.0;

/// Measures the delays.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let store = options.common.store().await?;
    let server = Server::start(&options.common.agent()?, None).await?;
    server.until_converged().await?;
    server.postgres().pgbench(&["-i", "-s", "10", "-q"]).await?;
    let session = server.postgres().connect().await?;
    session.run("create table followed (n int)").await?;
    let start = session.flush_lsn().await?;
    let mut pusher = Pusher::begin(&server, &store, start).await?;
    pusher.push_to(start).await?;

    let progress = Progress::begin("steady load", 0);
    let time = Duration::from_secs(options.seconds);
    let seconds = options.seconds.to_string();
    let arguments = ["-n", "-c", "4", "-j", "1", "-R", RATE, "-T", &seconds];
    let pgbench = server.postgres().pgbench_program(&arguments).await?;
    let directory = tempfile::tempdir().context("make a directory for pgbench")?;
    let log = directory.path().join("pgbench.log");
    let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
    let mut pgbench = pgbench.launch(lifetime, &log).await?;
    let (sender, mut commits) = tokio::sync::mpsc::unbounded_channel();
    let following = async {
        let begun = Instant::now();
        while begun.elapsed() < time {
            sender.send(commit(&session).await?)?;
            sleep(FOLLOWED_EVERY).await;
        }
        drop(sender);
        anyhow::Ok(())
    };
    let pushing = async {
        let mut delays = Vec::new();
        let mut waiting: VecDeque<(Lsn, Instant)> = VecDeque::new();
        let mut turns = interval(INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !(commits.is_closed() && commits.is_empty() && waiting.is_empty()) {
            turns.tick().await;
            while pusher.slice(Lsn::from_bytes(u64::MAX)).await? {}
            let now = Instant::now();
            while let Ok(next) = commits.try_recv() {
                waiting.push_back(next);
            }
            while let Some((end, at)) = waiting.front().copied() {
                if end > pusher.watermark {
                    break;
                }
                waiting.pop_front();
                delays.push((now - at).as_secs_f64());
            }
        }
        anyhow::Ok(delays)
    };
    let (followed, delays) = tokio::join!(following, pushing);
    followed?;
    let mut delays = delays?;
    pgbench.wait().await?;
    progress.end("measured");
    ensure!(!delays.is_empty(), "no commit was followed");
    delays.sort_by(f64::total_cmp);
    let quantile = |percent: usize| {
        let at = (delays.len() * percent / 100).min(delays.len() - 1);
        delays.get(at).copied().unwrap_or(f64::NAN)
    };
    let what = "commit until durable in the archive, pushed every 2 s";
    report.judge(format!("{what}, p50"), quantile(50), "s", Bar::AtMost(P50));
    report.judge(format!("{what}, p99"), quantile(99), "s", Bar::AtMost(P99));
    server.stop().await?;
    store.stop().await
}

/// Commits a row: its WAL ends here, and it was confirmed now.
async fn commit(session: &Session) -> anyhow::Result<(Lsn, Instant)> {
    session.run("insert into followed values (1)").await?;
    let at = Instant::now();
    Ok((session.flush_lsn().await?, at))
}
