//! A backlog of whole segments, pushed by each in turns.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use shared::archive::chain::{segment_end, segment_start};
use shared::units::Lsn;
use tokio::time::Instant;

use super::Options;
use crate::archiving::{MIB, Peers, PgBackRest, Pusher, Rates, Server, Store, WalE};
use crate::cpu;
use crate::progress::{Progress, line};
use crate::report::{Bar, Report};

/// Most memory of the agent.
const AGENT_MIB: f64 = 256.0;

/// Scale of pgbench: the first half of the backlog is from filling it, the rest from transactions.
const SCALE: &str = "30";

/// Transactions of one run of pgbench, by each client.
const TRANSACTIONS: &str = "5000";

/// Segments that are ready.
struct Backlog {
    start: Lsn,
    end: Lsn,
    /// Paths of their files, in order.
    segments: Vec<PathBuf>,
}

impl Backlog {
    fn bytes(&self) -> u64 {
        self.end.bytes() - self.start.bytes()
    }

    /// Writes at least `mebibytes` of WAL.
    async fn write(server: &Server, mebibytes: u64) -> anyhow::Result<Self> {
        let progress = Progress::begin(format!("{mebibytes} MiB of WAL"), 0);
        let status = server.until_converged().await?;
        let postgres = status.postgres.context("PostgreSQL runs")?;
        let segment_bytes = postgres.wal_segment_bytes;
        let session = server.postgres().connect().await?;
        let held = "select restart_lsn::text from pg_replication_slots";
        let start = segment_start(session.text(held).await?.parse()?, segment_bytes);
        let goal = start.bytes() + mebibytes * MIB;
        server
            .postgres()
            .pgbench(&["-i", "-s", SCALE, "-q"])
            .await?;
        // What a page's first change after it writes is the whole page.
        session.run("checkpoint").await?;
        session
            .run("alter system set synchronous_commit = off")
            .await?;
        session.run("select pg_reload_conf()").await?;
        while session.flush_lsn().await?.bytes() < goal {
            let transactions = ["-n", "-c", "8", "-j", "2", "-t", TRANSACTIONS];
            server.postgres().pgbench(&transactions).await?;
        }
        session.run("select pg_switch_wal()").await?;
        let end = Lsn::from_bytes(goal);
        let mut at = start;
        let mut segments = Vec::new();
        while at < end {
            let name = format!("select pg_walfile_name('{at}'::pg_lsn + 1)");
            let name = session.text(&name).await?;
            segments.push(server.data().join("pg_wal").join(name));
            at = segment_end(at, segment_bytes);
        }
        progress.end("written");
        Ok(Self {
            start,
            end: at,
            segments,
        })
    }

    /// Marks all as PostgreSQL does for its archiver.
    fn mark(&self) -> anyhow::Result<()> {
        for segment in &self.segments {
            let (ready, done) = marks(segment)?;
            drop(fs::remove_file(done));
            fs::write(ready, "")?;
        }
        Ok(())
    }

    fn unmark(&self) -> anyhow::Result<()> {
        for segment in &self.segments {
            let (ready, done) = marks(segment)?;
            drop((fs::remove_file(ready), fs::remove_file(done)));
        }
        Ok(())
    }

    /// What the archiver of PostgreSQL does: has one segment after the other pushed, as long as one
    /// is marked as ready.
    async fn archive(&self, push: impl AsyncFn(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
        for segment in &self.segments {
            let (ready, done) = marks(segment)?;
            if ready.exists() {
                push(segment).await?;
                if ready.exists() {
                    fs::rename(ready, done)?;
                }
            }
        }
        Ok(())
    }
}

/// The marks of a segment for "ready" and "done".
fn marks(segment: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let name = segment.file_name().context("a segment has a name")?;
    let name = name.to_string_lossy();
    let directory = segment.with_file_name("archive_status");
    Ok((
        directory.join(format!("{name}.ready")),
        directory.join(format!("{name}.done")),
    ))
}

/// Measures all in turns.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let common = &options.common;
    let store = common.programs.store().await?;
    let server = Server::start(&common.programs.agent()?, None).await?;
    let backlog = Backlog::write(&server, options.mebibytes).await?;
    let peers = Peers::of(&server, &store).await?;
    let pgbackrest = PgBackRest::find(common, report).await;
    let wal_e = WalE::find(common, report).await;
    let (mut ours, mut theirs, mut wal_es) = <(Rates, Rates, Rates)>::default();
    let mut agent_cpu = 0.0;
    for round in 1..=common.rounds {
        let progress = Progress::begin(format!("round {round}"), 0);
        store.clear().await?;
        let (cpu, store_cpu) = (
            cpu::time_of(server.agent_pid())?,
            cpu::time_of(store.pid())?,
        );
        let rate = push_ours(&server, &store, &backlog, &mut ours).await?;
        agent_cpu = cpu::time_of(server.agent_pid())?
            .saturating_sub(cpu)
            .as_secs_f64();
        let store_cpu = cpu::time_of(store.pid())?
            .saturating_sub(store_cpu)
            .as_secs_f64();
        line(&format!(
            "ours {rate:.0} MiB/s (agent {agent_cpu:.2} s, store {store_cpu:.2} s)"
        ));
        if let Some(pgbackrest) = &pgbackrest {
            store.clear().await?;
            let stanza = pgbackrest
                .stanza(&peers, &format!("wal-{round}"), "lz4")
                .await?;
            backlog.mark()?;
            let begun = Instant::now();
            backlog
                .archive(async |segment| stanza.push(segment).await)
                .await?;
            let rate = theirs.add(backlog.bytes(), begun.elapsed());
            line(&format!("pgBackRest {rate:.0} MiB/s"));
        }
        if let Some(wal_e) = &wal_e {
            store.clear().await?;
            backlog.mark()?;
            let prefix = format!("wal-e/{round}");
            let begun = Instant::now();
            backlog
                .archive(async |segment| wal_e.push(&peers, &prefix, segment).await)
                .await?;
            let rate = wal_es.add(backlog.bytes(), begun.elapsed());
            line(&format!("WAL-E {rate:.0} MiB/s"));
        }
        backlog.unmark()?;
        progress.end("done");
    }
    tell_rates(report, (&ours, &theirs, &wal_es));
    report.note("processor time of the agent for it", agent_cpu, "s");
    let peak = server.agent_peak_mib()?;
    report.judge(
        "most memory of the agent",
        peak,
        "MiB",
        Bar::AtMost(AGENT_MIB),
    );
    server.stop().await?;
    store.stop().await
}

fn tell_rates(report: &mut Report, (ours, pgbackrest, wal_e): (&Rates, &Rates, &Rates)) {
    ours.note("WAL of a backlog, ours", report);
    let name = "the same, pgBackRest asynchronous, 2 processes, lz4";
    pgbackrest.note(name, report);
    wal_e.note("the same, WAL-E, lzo, 32 at once", report);
    ours.against(pgbackrest, "pgBackRest", 1.4, report);
    ours.against(wal_e, "WAL-E", 1.1, report);
}

async fn push_ours(
    server: &Server,
    store: &Store,
    backlog: &Backlog,
    rates: &mut Rates,
) -> anyhow::Result<f64> {
    let mut pusher = Pusher::begin(server, store, backlog.start).await?;
    let begun = Instant::now();
    pusher.push_to(backlog.end).await?;
    let rate = rates.add(backlog.bytes(), begun.elapsed());
    ensure!(pusher.watermark == backlog.end, "it ends elsewhere");
    Ok(rate)
}
