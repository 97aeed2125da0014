//! What pushes do when nothing is broken.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::archive::chain::Compaction;
use shared::clock::{Clock as _, SystemClock};
use shared::db::archive::{Epoch, protection_of};
use shared::http_api::{Protection, ProtectionState};
use shared::units::Lsn;
use tests::world::{PATIENCE, write};
use tokio::time::{Instant, sleep};

use super::backups::until_first_backup;
use super::world::{Protected, flushed, slot_restart};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_writes_is_in_the_archive_and_an_idle_database_makes_nothing()
-> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await?;
    drop(customer);
    until_first_backup(&protected).await?;
    // The end of a backup ends a segment, which is then put together.
    let is_together = |epoch: &Epoch| {
        let bytes = epoch.record.segment_bytes;
        epoch.watermark >= epoch.flush
            && !Compaction::is_due(epoch.compacted, epoch.watermark, bytes)
    };
    protected.until_epoch("put together", is_together).await?;

    // Idle: what PostgreSQL still writes by itself after a change comes to its end first.
    let idle = ("ringmaster_wal_pushes_total", &["result=\"idle\""][..]);
    let pushed = ("ringmaster_wal_pushes_total", &["result=\"pushed\""][..]);
    loop {
        let before = protected.metric(pushed.0, pushed.1).await?;
        let idle_before = protected.metric(idle.0, idle.1).await?;
        let requests = protected.server.faults().seen().len();
        let stored = protected.epoch().await?;
        protected.turned(3).await?;
        if protected.metric(pushed.0, pushed.1).await? > before {
            continue;
        }
        assert!(protected.metric(idle.0, idle.1).await? > idle_before);
        assert_eq!(protected.server.faults().seen().len(), requests);
        assert_eq!(protected.epoch().await?, stored, "no row was written");
        break;
    }
    let pool = &protected.world.database.pool;
    let stored = protection_of(pool, protected.id)
        .await?
        .expect("it is placed");
    let shown = Protection::of(&stored, None, SystemClock.now());
    assert_eq!(shown.state, ProtectionState::On);
    assert!(shown.gap.is_none() && shown.durable_up_to_lsn >= Some(epoch.watermark));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_in_parts_are_put_together_and_the_slot_moves_on() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 2).await?;
    let first = protected.until_archived(&mut customer).await?;
    for _ in 0..2 {
        write(&mut customer, 12).await?;
        protected.until_archived(&mut customer).await?;
    }
    let epoch = protected
        .until_epoch("compacted", |epoch| {
            epoch.compacted > first.record.start && epoch.compacted > first.watermark
        })
        .await?;
    protected.assert_whole(&epoch).await?;
    let segments = protected.objects("/segments/").await?;
    let (prefix, run) = (epoch.record.prefix(), epoch.record.run());
    let whole = prefix.segment(run, epoch.record.start);
    assert!(segments.contains_key(&whole), "{segments:#?}");

    // The next push after the record tells the agent.
    let begun = Instant::now();
    loop {
        let held = slot_restart(&mut customer).await?;
        if held >= Some(epoch.compacted) {
            assert!(held <= Some(protected.until_epoch("there", |_| true).await?.watermark));
            return Ok(());
        }
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "the slot is at {held:?}: {epoch:#?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_that_is_called_complete_has_all_that_was_committed_before_it()
-> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    let mut committed: Vec<(DateTime<Utc>, Lsn)> = Vec::new();
    for _ in 0..30 {
        write(&mut customer, 1).await?;
        let lsn = flushed(&mut customer).await?;
        let moment = sqlx::query_scalar("select clock_timestamp()");
        committed.push((moment.fetch_one(&mut customer).await?, lsn));
        let epoch = protected.until_epoch("there", |_| true).await?;
        let until = epoch.complete.map(|complete| complete.until);
        for (moment, lsn) in &committed {
            let is_there = epoch.watermark >= *lsn;
            assert!(
                is_there || until < Some(*moment),
                "{moment} {lsn} {epoch:#?}"
            );
        }
    }
    let last = committed.last().map(|(moment, _)| *moment);
    let is_known = |epoch: &Epoch| epoch.complete.map(|complete| complete.until) >= last;
    protected.until_epoch("complete", is_known).await?;
    Ok(())
}
