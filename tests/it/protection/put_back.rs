//! A control database that was put back to an older copy.

use shared::archive::chain::{segment_end, segment_start};
use shared::archive::store::ObjectStore as _;
use shared::db::archive::Epoch;
use shared::domain::ArchiveAlert;
use shared::units::Lsn;
use sqlx::PgConnection;
use tests::world::{PATIENCE, write};
use tokio::time::{Duration, Instant, sleep};

use super::world::{Protected, slot_restart};

/// Keeps what is known of the epoch.
async fn copy(protected: &Protected) -> anyhow::Result<()> {
    sqlx::query("create table older as select * from epochs")
        .execute(&protected.world.database.pool)
        .await?;
    Ok(())
}

/// Forgets everything since.
async fn put_back(protected: &Protected) -> anyhow::Result<()> {
    sqlx::query(
        "update epochs
         set watermark_lsn = older.watermark_lsn, watermark_at = older.watermark_at,
             tail_lsn = older.tail_lsn, tail_end_lsn = older.tail_end_lsn,
             compacted_lsn = older.compacted_lsn, flush_lsn = older.flush_lsn,
             complete_until = older.complete_until, complete_lsn = older.complete_lsn
         from older
         where epochs.timeline_id = older.timeline_id and epochs.number = older.number",
    )
    .execute(&protected.world.database.pool)
    .await?;
    Ok(())
}

/// Writes until the leader keeps nothing of what was archived at `older`. Gives the oldest position
/// that it still keeps.
async fn move_on(
    protected: &Protected,
    customer: &mut PgConnection,
    older: &Epoch,
) -> anyhow::Result<Lsn> {
    let bytes = older.record.segment_bytes;
    let wanted = segment_end(segment_end(older.watermark, bytes), bytes);
    let begun = Instant::now();
    loop {
        write(customer, 6).await?;
        protected.until_archived(customer).await?;
        protected.turned(2).await?;
        let held = slot_restart(customer).await?;
        if let Some(held) = held.filter(|held| *held >= wanted) {
            return Ok(segment_start(held, bytes));
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the slot is at {held:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Removes the files that no slot keeps, as a checkpoint does sooner or later.
async fn remove_before(protected: &Protected, oldest: Lsn, epoch: &Epoch) -> anyhow::Result<()> {
    let row = protected.world.row(protected.id).await?;
    let server = row.base.expect("it is placed").server;
    let directory = protected.world.data_directory(server).join("pg_wal");
    let number = oldest.bytes() / u64::from(epoch.record.segment_bytes);
    let in_a_log = (1 << 32) / u64::from(epoch.record.segment_bytes);
    let first = format!(
        "{:08X}{:08X}{:08X}",
        epoch.record.tli,
        number / in_a_log,
        number % in_a_log
    );
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == first.len() && name < first {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

async fn gaps(protected: &Protected) -> anyhow::Result<Vec<(i64, i64)>> {
    let query = "select from_lsn, to_lsn from gaps";
    let pool = &protected.world.database.pool;
    Ok(sqlx::query_as(query).fetch_all(pool).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_archive_is_found_again_and_only_what_is_not_is_a_gap() -> anyhow::Result<()>
{
    let mut protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    let older = protected.until_archived(&mut customer).await?;
    copy(&protected).await?;
    let oldest = move_on(&protected, &mut customer, &older).await?;
    protected.world.kill_worker(0).await?;
    let known = protected.until_epoch("there", |_| true).await?;
    remove_before(&protected, oldest, &older).await?;
    put_back(&protected).await?;

    let worker = protected.start_worker().await?;
    write(&mut customer, 1).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    assert!(epoch.watermark > known.watermark, "{epoch:#?}");
    assert_eq!(gaps(&protected).await?, []);
    protected.assert_whole(&epoch).await?;
    protected.until_alert(ArchiveAlert::Gap, false).await?;

    // The same again; but now one object is really gone.
    protected.world.kill_worker(worker).await?;
    let held = slot_restart(&mut customer).await?.unwrap_or_default();
    let oldest = segment_start(held, epoch.record.segment_bytes);
    put_back(&protected).await?;
    let joints = protected.joints(&epoch).await?;
    let mut between = joints.iter().filter(|at| **at > older.watermark);
    let hole = *between.next().expect("it went up in more than one object");
    assert!(hole < oldest, "{hole} {oldest}");
    let (prefix, run) = (epoch.record.prefix(), epoch.record.run());
    let segment = segment_start(hole, epoch.record.segment_bytes);
    let lost = [prefix.chunk(run, hole), prefix.segment(run, segment)];
    protected.server.store().delete(&lost).await?;
    protected.start_worker().await?;
    protected.until_alert(ArchiveAlert::Gap, true).await?;
    let signed = |lsn: Lsn| i64::try_from(lsn.bytes()).unwrap_or(i64::MAX);
    let found = gaps(&protected).await?;
    assert_eq!(found, [(signed(hole), signed(oldest))]);
    write(&mut customer, 1).await?;
    protected.until_archived(&mut customer).await?;
    Ok(())
}
