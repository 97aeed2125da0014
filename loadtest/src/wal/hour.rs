//! How many objects a restore has to fetch for the WAL of a busy premium database, and how many of
//! them a day later.
//!
//! The objects of a time are one for each whole segment and the chunks of the segment that is being
//! written: only those grow in number with the pushes, and they are put together when that segment
//! is full. So the number of objects beside segments does not depend on how long was written, and a
//! few minutes tell it for an hour. "A day later" is when the database has written on for as long as
//! it takes to fill that segment, and the worker has put it together.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::agent_api::restore::{
    Leg, RestoreSource, RestoreStage, RestoreStatus, Target, WantedWal,
};
use shared::archive::SIGNED_FOR;
use shared::archive::chain::{Walk, segment_end, segment_start};
use shared::archive::frame::{self, PEEK_BYTES};
use shared::archive::reads::{Asker, sign_reads};
use shared::archive::store::ObjectStore as _;
use shared::db::archive::{Epoch, current_epoch};
use shared::ids::BackupId;
use shared::units::Lsn;
use tokio::time::{Instant, sleep};

use super::Options;
use crate::progress::Progress;
use crate::report::{Bar, Report};
use crate::system::{Customer, System, flush_lsn};

/// Most objects beside segments.
const OBJECTS_BESIDE: f64 = 100.0;

/// Seconds of an hour.
const HOUR: f64 = 3600.0;

/// Transactions of each client until the next look whether a segment is full.
const ON_AND_ON: &str = "500";

/// Longest wait for the archive.
const PATIENCE: Duration = Duration::from_mins(3);

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

/// Writes, and counts what a restore of it would fetch.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let system = System::start(&options.common.programs).await?;
    system.offer("premium").await?;
    let customer = system.create("busy", "premium").await?;
    system.until_backed_up("busy").await?;
    customer.pgbench(&["-i", "-s", "10", "-q"]).await?;
    let mut session = customer.connect().await?;

    let seconds = options.hour_seconds.to_string();
    let progress = Progress::begin(format!("{seconds} s of a busy database"), 0);
    let begin = flush_lsn(&mut session).await?;
    let rate = options.hour_rate.to_string();
    let arguments = ["-n", "-c", "4", "-j", "1", "-R", &rate, "-T", &seconds];
    customer.pgbench(&arguments).await?;
    let end = flush_lsn(&mut session).await?;
    let wanted = |epoch: &Epoch| epoch.watermark >= end;
    let epoch = until(&system, &customer, wanted).await?;
    progress.end(&format!("written from {begin} to {end}"));
    let bytes = u64::from(epoch.record.segment_bytes);
    let segments = end.bytes().div_ceil(bytes) - begin.bytes() / bytes;
    let at_once = objects(&system, &epoch, begin..end).await?;

    let progress = Progress::begin("the segment is filled up", 0);
    let full = segment_end(end, epoch.record.segment_bytes);
    while flush_lsn(&mut session).await? < full {
        customer
            .pgbench(&["-n", "-c", "4", "-j", "1", "-t", ON_AND_ON])
            .await?;
    }
    let wanted = |epoch: &Epoch| epoch.compacted >= full;
    let epoch = until(&system, &customer, wanted).await?;
    progress.end("and put together");
    let later = objects(&system, &epoch, begin..end).await?;

    let count = |number: u64| u32::try_from(number).map(f64::from);
    let (segments, at_once, later) = (count(segments)?, count(at_once)?, count(later)?);
    report.note("segments that its WAL touches", segments, "");
    let written = count((end.bytes() - begin.bytes()) >> 10)? / count(bytes >> 10)?;
    let an_hour = written * HOUR / count(options.hour_seconds)?;
    report.note("segments of an hour at that rate", an_hour, "");
    let what = "objects beside segments, as soon as it is written";
    report.note(what, at_once - segments, "");
    report.judge(
        "objects beside segments, a day later",
        later - segments,
        "",
        Bar::AtMost(OBJECTS_BESIDE),
    );
    system.stop().await
}

async fn until(
    system: &System,
    customer: &Customer,
    wanted: impl Fn(&Epoch) -> bool,
) -> anyhow::Result<Epoch> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let epoch = current_epoch(&system.control.pool, customer.timeline).await?;
        if let Some(epoch) = epoch.as_ref().filter(|epoch| wanted(epoch)) {
            return Ok(epoch.clone());
        }
        ensure!(Instant::now() < deadline, "{epoch:?}: {}", system.log());
        sleep(LOOK).await;
    }
}

/// How many objects a restore would be given that begins in the segment of `range.start` and ends at
/// `range.end`. They are one chain, or this fails.
async fn objects(system: &System, epoch: &Epoch, range: Range<Lsn>) -> anyhow::Result<u64> {
    let (record, store) = (&epoch.record, &system.store.client);
    let source = source(epoch, range.end);
    let asker = Asker {
        participant: record.participant,
        generation: record.generation,
        segment_bytes: record.segment_bytes,
    };
    let start = segment_start(range.start, record.segment_bytes);
    let (mut walk, mut from, mut count) = (Walk::going_on(record, start), start, 0);
    while from < range.end {
        let status = wants(WantedWal {
            timeline: record.timeline,
            run: record.run(),
            from,
            end: range.end,
        });
        let reads = sign_reads(store, (&source, asker), &status, SIGNED_FOR).await?;
        let wal = reads.and_then(|reads| reads.wal).context("WAL is signed")?;
        for object in &wal.objects {
            let (prefix, run) = (record.prefix(), record.run());
            let key = if object.is_segment {
                prefix.segment(run, object.start)
            } else {
                prefix.chunk(run, object.start)
            };
            let head = 0..u64::try_from(PEEK_BYTES)?;
            let head = store.get(&key, Some(head)).await?;
            walk.over(&frame::peek(&head.context("what is listed is there")?)?)?;
            count += 1;
        }
        from = wal.until;
    }
    let reached = walk.at();
    ensure!(reached >= range.end, "the chain ends at {reached}");
    Ok(count)
}

/// A restore of the history up to `end`. Of which backup is all the same: only its WAL is looked for.
fn source(epoch: &Epoch, end: Lsn) -> RestoreSource {
    let record = &epoch.record;
    RestoreSource {
        postgres_major: 15,
        system_identifier: record.system_identifier,
        timeline: record.timeline,
        backup: BackupId::new(),
        path: vec![Leg {
            timeline: record.timeline,
            run: record.run(),
            end,
        }],
        target: Target::End,
        complete_until: epoch.watermark_at,
        renames: Vec::new(),
    }
}

/// What an agent says that wants to read this.
fn wants(wal: WantedWal) -> RestoreStatus {
    RestoreStatus {
        stage: RestoreStage::Replaying,
        bytes_done: 0,
        bytes_total: 0,
        wants_manifest: false,
        wants_pieces: Vec::new(),
        wants_wal: Some(wal),
        fetched_lsn: None,
        replay_lsn: None,
        trouble: None,
    }
}
