//! Restoring one backup, beside pgBackRest and barman, and fetching WAL for replay.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use shared::archive::manifest::Manifest;
use shared::units::Lsn;
use tokio::time::Instant;

use crate::archiving::{
    Barman, Common, MIB, Peers, PgBackRest, Pusher, Rates, Seen, Server, Store, back_up, database,
    restore, restore_source,
};
use crate::backup::LOOK;
use crate::progress::{Progress, line};
use crate::report::{Bar, Report};

/// Megabytes of WAL that must be fetched in a second.
const WAL_RATE: f64 = 300.0;

/// Bytes that the agent fetches ahead of replay, but for the last segment.
const FETCHED_AHEAD: u64 = 240 * MIB;

/// Most memory of the agent.
const AGENT_MIB: f64 = 256.0;

/// Options of the restore scenario.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,

    /// Mebibytes of the database.
    #[arg(long, default_value_t = 2048)]
    mebibytes: u64,

    /// Mebibytes of WAL after the backup, which are replayed.
    #[arg(long, default_value_t = 512)]
    wal_mebibytes: u64,
}

/// Rates of everybody.
#[derive(Default)]
struct All {
    ours: Rates,
    ours_whole: Rates,
    pgbackrest: Rates,
    barman: Rates,
    /// WAL that was fetched first, ahead of replay.
    wal: Rates,
    /// Looks that saw PostgreSQL wait for WAL, in percent of all.
    starved: Vec<f64>,
    peak: f64,
}

/// Measures all in turns.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let common = &options.common;
    report.settings(json!({
        "mebibytes": options.mebibytes,
        "wal_mebibytes": options.wal_mebibytes,
        "rounds": common.rounds,
    }));
    let store = common.programs.store().await?;
    let server = Server::start(&common.programs.agent()?, None).await?;
    let session = database::fill(&server, options.mebibytes).await?;
    let begin = session.flush_lsn().await?;
    let mut pusher = Pusher::begin(&server, &store, begin).await?;
    let (_, manifest) = back_up(&server, &store, pusher.prefix, LOOK).await?;
    database::write_wal(&session, options.wal_mebibytes).await?;
    let end = session.flush_lsn().await?;
    pusher.push_to(end).await?;
    let peers = Peers::of(&server, &store).await?;
    let stanza = match PgBackRest::find(common, report).await {
        Some(pgbackrest) => Some(pgbackrest.stanza(&peers, "restore", "zst").await?),
        None => None,
    };
    if let Some(stanza) = &stanza {
        let _making = Progress::begin("a backup by pgBackRest", 0);
        stanza.back_up().await?;
    }
    let barman = Barman::find(common, report).await;
    let mut barman_id = String::new();
    if let Some(barman) = &barman {
        let _making = Progress::begin("a backup by barman", 0);
        barman.back_up(&peers, "restore", "snappy").await?;
        barman_id = barman.only_backup(&peers, "restore").await?;
    }
    let bytes = manifest.bytes();
    let mut all = All::default();
    for round in 1..=common.rounds {
        let progress = Progress::begin(format!("round {round}"), 0);
        Store::settle().await?;
        all.ours(&common.programs.agent()?, &store, &manifest, end)
            .await?;
        if let Some(stanza) = &stanza {
            let time = into_empty(async |to| stanza.restore(to).await).await?;
            let rate = all.pgbackrest.add(bytes, time);
            line(&format!("pgBackRest zst {rate:.0} MiB/s"));
        }
        if let Some(barman) = &barman {
            let from = ("restore", barman_id.as_str());
            let time = into_empty(async |to| barman.restore(&peers, from, to).await).await?;
            let rate = all.barman.add(bytes, time);
            line(&format!("barman-cloud-restore snappy {rate:.0} MiB/s"));
        }
        progress.end("done");
    }
    all.report(report);
    server.stop().await?;
    store.stop().await
}

impl All {
    /// Restores with our agent, and ends what was restored.
    async fn ours(
        &mut self,
        agent: &Path,
        store: &Store,
        manifest: &Manifest,
        end: Lsn,
    ) -> anyhow::Result<()> {
        let source = restore_source(manifest, end)?;
        let (restored, took) = restore(agent, store, (manifest, source), LOOK).await?;
        let (bytes, whole) = (manifest.bytes(), took.fetching + took.replaying);
        let rate = self.ours.add(bytes, took.fetching);
        self.ours_whole.add(bytes, whole);
        self.peak = self.peak.max(restored.agent_peak_mib()?);
        let cpu = crate::cpu::time_of(restored.agent_pid())?.as_secs_f64();
        self.wal_came(&took.wal, manifest.start_lsn, end);
        let (fetching, replaying) = (took.fetching, took.replaying);
        line(&format!(
            "ours {rate:.0} MiB/s, {fetching:.2?}, then {replaying:.2?} for {} MiB of WAL (agent \
             {cpu:.2} s of processor time)",
            (end.bytes() - manifest.start_lsn.bytes()) / MIB
        ));
        restored.stop().await
    }

    /// How fast WAL came while there was room to fetch it ahead, and how often replay waited for it.
    fn wal_came(&mut self, seen: &[Seen], begin: Lsn, end: Lsn) {
        let ahead = Lsn::from_bytes(begin.bytes() + FETCHED_AHEAD).min(end);
        let under_way = seen.iter().take_while(|seen| seen.fetched < ahead);
        if let Some(first) = seen.get(under_way.count()) {
            let bytes = first.fetched.bytes() - begin.bytes();
            self.wal.add(bytes, first.at);
        }
        let needed: Vec<&Seen> = seen.iter().filter(|seen| seen.fetched < end).collect();
        let waits = needed.iter().filter(|seen| seen.replayed >= seen.fetched);
        let count = |number: usize| u32::try_from(number).map_or(f64::NAN, f64::from);
        self.starved
            .push(100.0 * count(waits.count()) / count(needed.len().max(1)));
    }

    fn report(&self, report: &mut Report) {
        self.ours
            .note("restore, ours, all files in place and durable", report);
        self.ours_whole
            .note("restore, ours, until the database serves", report);
        let peer = "the files of the same, pgBackRest, 2 processes, zst";
        self.pgbackrest.note(peer, report);
        self.barman
            .note("the same, barman-cloud-restore, snappy", report);
        self.ours
            .against(&self.pgbackrest, "pgBackRest, zst", 3.0, report);
        self.ours
            .against(&self.barman, "barman-cloud-restore", 1.1, report);
        if let Some(rate) = self.wal.median() {
            let megabytes = rate * 1.048_576;
            let what = "WAL that is fetched first, ahead of replay";
            report.judge(what, megabytes, "MB/s", Bar::AtLeast(WAL_RATE));
        }
        let starved = self.starved.iter().copied().fold(0.0, f64::max);
        let what = "looks that saw replay wait for WAL, in the worst round";
        report.note(what, starved, "%");
        report.judge(
            "most memory of the agent",
            self.peak,
            "MiB",
            Bar::AtMost(AGENT_MIB),
        );
    }
}

/// How long it takes to restore into an empty directory, which is removed again.
async fn into_empty(
    restore: impl AsyncFn(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let directory = tempfile::tempdir().context("make a directory to restore into")?;
    Store::settle().await?;
    let begun = Instant::now();
    restore(directory.path()).await?;
    let took = begun.elapsed();
    tokio::task::spawn_blocking(move || directory.close()).await??;
    Ok(took)
}
