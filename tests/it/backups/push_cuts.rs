//! Workers that die or stall between any two steps of a push, from the first epoch on.

use anyhow::Context as _;
use shared::archive::epoch::EpochRecord;
use shared::archive::store::ObjectStore as _;
use shared::clock::Clock as _;
use shared::db::archive::{Epoch, begin_epoch, seal_epoch};
use shared::db::fleet::Recorded;
use shared::domain::{ArchiveAlert, JobKind};
use shared::ids::RequestId;
use shared::units::Lsn;
use sqlx::{Executor as _, PgConnection};
use tests::world::write;
use tokio::time::Instant;

use super::world::{Backups, Cut, Stop};
use crate::protection::world::{flushed, joints, open_alerts};

/// More borders than the pushes of one round have.
const BORDERS_MAX: usize = 40;

/// Nothing of the timeline is in the archive, and nobody knows of an epoch.
async fn forget(backups: &Backups) -> anyhow::Result<()> {
    let store = backups.server.store();
    let names = backups.objects("timelines/").await?;
    for names in names.chunks(1000) {
        store.delete(names).await?;
    }
    let pool = backups.pool();
    pool.execute("delete from gaps; delete from alerts; delete from epochs")
        .await?;
    Ok(())
}

/// Pushes everything by a worker that is cut at its border after so many others, and by others.
/// Tells whether there was such a border.
async fn push_with(
    backups: &Backups,
    customer: &mut PgConnection,
    (cut, after): (Cut, usize),
) -> anyhow::Result<bool> {
    let stop = Stop::after(after);
    let begun = Instant::now();
    let flushed = flushed(&mut *customer).await?;
    loop {
        let mut turn = backups
            .worker
            .turn(JobKind::WalPush, backups.timeline, Some(&stop));
        tokio::select! {
            _ = &mut turn => {
                let epoch = backups.epoch().await?;
                if epoch.is_some_and(|epoch| epoch.watermark >= flushed) {
                    return Ok(false);
                }
            }
            () = stop.reached() => {
                if matches!(cut, Cut::Dies) {
                    drop(turn);
                    backups.push_all(customer).await?;
                } else {
                    let before = backups.push_all(customer).await?;
                    stop.go_on();
                    turn.await;
                    let epoch = backups.epoch().await?.context("it is there")?;
                    assert!(epoch.watermark >= before.watermark, "{before:#?} {epoch:#?}");
                }
                return Ok(true);
            }
        }
        backups.still_waits("a push", begun).await?;
    }
}

/// The watermark is where an object ends, on a chain from the start of the epoch or of what is behind
/// its gap; the record is in the archive, and is the epoch's.
async fn assert_whole(backups: &Backups, epoch: &Epoch) -> anyhow::Result<()> {
    let store = backups.server.store();
    let record = &epoch.record;
    let gap: Option<i64> = sqlx::query_scalar("select max(to_lsn) from gaps")
        .fetch_one(backups.pool())
        .await?;
    let start = match gap {
        Some(gap) => Lsn::from_bytes(gap.unsigned_abs()),
        None => record.start,
    };
    let from = EpochRecord {
        start,
        ..record.clone()
    };
    let joints = joints(&store, &from).await?;
    assert!(joints.contains(&epoch.watermark), "{epoch:#?} {joints:?}");
    let key = record.prefix().epoch(record.number);
    let written = store
        .get(&key, None)
        .await?
        .context("the record is there")?;
    assert_eq!(serde_json::from_slice::<EpochRecord>(&written)?, *record);
    Ok(())
}

/// In each round so many MB are written; of more than a segment some are put together.
async fn survives_every(cut: Cut, megabytes: i32) -> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let mut customer = backups.world.connect(backups.id).await?;
    for after in 0..BORDERS_MAX {
        forget(&backups).await?;
        write(&mut customer, megabytes).await?;
        let was_cut = push_with(&backups, &mut customer, (cut, after)).await?;
        let epoch = backups.epoch().await?.context("there is an epoch")?;
        assert_eq!(epoch.record.number, 1);
        assert_whole(&backups, &epoch).await?;
        assert_eq!(
            open_alerts(backups.pool()).await?,
            [""; 0],
            "{cut:?} {after}"
        );
        if !was_cut {
            assert!(after >= 4, "pushes have more borders than {after}");
            return Ok(());
        }
    }
    anyhow::bail!("they have too many borders")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_between_any_two_steps_of_a_push() -> anyhow::Result<()> {
    survives_every(Cut::Dies, 17).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stalled_at_any_step_of_a_push_takes_nothing_back() -> anyhow::Result<()>
{
    survives_every(Cut::Stalls, 1).await
}

/// As if the epoch had begun before the oldest WAL that the leader still has.
async fn begin_before_all(backups: &Backups, usual: &EpochRecord) -> anyhow::Result<()> {
    forget(backups).await?;
    let record = EpochRecord {
        start: Lsn::default(),
        ..usual.clone()
    };
    let key = record.prefix().epoch(record.number);
    let json = record.to_json().into();
    backups.server.store().put(&key, json).await?;
    let now = backups.worker.clock.now();
    assert!(begin_epoch(backups.pool(), &record, RequestId::new(), now).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_noted_and_told_whenever_a_worker_dies() -> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let mut customer = backups.world.connect(backups.id).await?;
    let usual = backups.epoch().await?.context("there is an epoch")?.record;
    for after in 0..BORDERS_MAX {
        begin_before_all(&backups, &usual).await?;
        write(&mut customer, 1).await?;
        let was_cut = push_with(&backups, &mut customer, (Cut::Dies, after)).await?;
        let epoch = backups.epoch().await?.context("there is an epoch")?;
        assert_whole(&backups, &epoch).await?;
        let told = open_alerts(backups.pool()).await?;
        assert_eq!(told, [ArchiveAlert::Gap.as_str()], "{after}");
        if !was_cut {
            assert!(after >= 4, "a gap has more borders than {after}");
            return Ok(());
        }
    }
    anyhow::bail!("it has too many borders")
}

/// Whatever it had uploaded, and wherever it stands: the epoch stays as it was sealed.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_under_way_when_its_epoch_was_sealed_settles_nothing() -> anyhow::Result<()>
{
    let backups = Backups::start("standard").await?;
    let mut customer = backups.world.connect(backups.id).await?;
    let (pool, key) = (backups.pool(), (backups.timeline, 1));
    let mut past_the_end = false;
    for after in 0..BORDERS_MAX {
        forget(&backups).await?;
        write(&mut customer, 1).await?;
        backups.push_all(&mut customer).await?;
        write(&mut customer, 1).await?;
        let before = backups.epoch().await?.context("there is an epoch")?;
        let stop = Stop::after(after);
        let mut push = backups
            .worker
            .turn(JobKind::WalPush, backups.timeline, Some(&stop));
        tokio::select! {
            _ = &mut push => {
                assert!(after >= 3, "a push has more borders than {after}");
                assert!(past_the_end, "none had uploaded anything");
                return Ok(());
            }
            () = stop.reached() => {}
        }
        let now = backups.worker.clock.now();
        let watermark = backups.epoch().await?.context("it is there")?.watermark;
        let sealed = seal_epoch(pool, key, watermark, now).await?;
        assert_eq!(sealed, Recorded::Yes);
        stop.go_on();
        push.await;
        for _ in 0..2 {
            let epoch = backups.epoch().await?.context("it is there")?;
            assert_eq!(epoch.watermark, watermark, "{after}");
            assert_whole(&backups, &epoch).await?;
            backups.turn(JobKind::WalPush).await;
        }
        let (prefix, run) = (before.record.prefix(), before.record.run());
        let late = backups.objects(&prefix.chunk(run, watermark)).await?;
        past_the_end |= !late.is_empty();
    }
    anyhow::bail!("it has too many borders")
}
