//! PostgreSQL writes as fast as it can, and WAL is pushed meanwhile.

use std::time::Duration;

use anyhow::Context as _;
use shared::process::{DeathSignal, Lifetime};
use shared::units::Lsn;
use tokio::time::{Instant, sleep};

use super::Options;
use crate::archiving::{MIB, Pusher, Server};
use crate::cpu;
use crate::progress::Progress;
use crate::report::{Bar, Report};

/// Least WAL a second that must be kept up with.
const MIB_PER_SECOND: f64 = 120.0;

/// Pause after a push that left nothing.
const PAUSE: Duration = Duration::from_millis(50);

/// What writes WAL fast: rows of 1,000 bytes, by thousands, not indexed.
const SCRIPT: &str = "insert into written select n, repeat(md5(n::text || random()::text), 31) \
    from generate_series(1, 2000) as n;\n";

/// Measures how far the archive stays behind.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let store = options.common.programs.store().await?;
    let server = Server::start(&options.common.programs.agent()?, None).await?;
    server.until_converged().await?;
    let session = server.postgres().connect().await?;
    session
        .run("create table written (id bigint, body text)")
        .await?;
    let directory = tempfile::tempdir().context("make a directory for pgbench")?;
    let script = directory.path().join("script.sql");
    std::fs::write(&script, SCRIPT)?;
    let script = script.display().to_string();
    let seconds = options.seconds.to_string();
    let arguments = ["-n", "-c", "4", "-j", "1", "-T", &seconds, "-f", &script];
    let writing = server.postgres().pgbench_program(&arguments).await?;

    let start = session.flush_lsn().await?;
    let mut pusher = Pusher::begin(&server, &store, start).await?;
    pusher.push_to(start).await?;
    pusher.lets_go = true;
    let progress = Progress::begin("PostgreSQL writes", 0);
    let cpu = cpu::time_of(server.agent_pid())?;
    let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
    let log = directory.path().join("pgbench.log");
    let begun = Instant::now();
    let mut pgbench = writing.launch(lifetime, &log).await?;
    let mut behind_max = 0;
    let ended = pgbench.wait();
    tokio::pin!(ended);
    loop {
        let came = async {
            let more = pusher.slice(Lsn::from_bytes(u64::MAX)).await?;
            let flushed = session.flush_lsn().await?;
            anyhow::Ok((more, flushed.bytes() - pusher.watermark.bytes()))
        };
        let (more, behind) = came.await?;
        behind_max = behind_max.max(behind);
        if !more {
            sleep(PAUSE).await;
        }
        if begun.elapsed() >= Duration::from_secs(options.seconds) {
            break;
        }
    }
    let written = begun.elapsed();
    let end = session.flush_lsn().await?;
    let behind = end.bytes() - pusher.watermark.bytes();
    ended.await?;
    let agent = cpu::time_of(server.agent_pid())?
        .saturating_sub(cpu)
        .as_secs_f64();
    progress.end("measured");
    let rate = mebibytes(end.bytes() - start.bytes()) / written.as_secs_f64();
    let pushed = mebibytes(pusher.watermark.bytes() - start.bytes()) / written.as_secs_f64();
    tell_rates(report, (rate, pushed), (behind, behind_max));
    report.note(
        "processor time of the agent",
        agent / written.as_secs_f64(),
        "cores",
    );
    let peak = server.agent_peak_mib()?;
    report.judge("most memory of the agent", peak, "MiB", Bar::AtMost(256.0));
    server.stop().await?;
    store.stop().await
}

fn tell_rates(report: &mut Report, (rate, pushed): (f64, f64), (behind, behind_max): (u64, u64)) {
    report.note("WAL that PostgreSQL wrote meanwhile", rate, "MiB/s");
    report.judge(
        "WAL that was pushed of it",
        pushed,
        "MiB/s",
        Bar::AtLeast(MIB_PER_SECOND),
    );
    report.note("behind at the end", mebibytes(behind), "MiB");
    let name = "behind at most, after a slice";
    report.note(name, mebibytes(behind_max), "MiB");
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "bytes, as a figure for people"
)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
