//! Workers that die, race or come too late.

use std::time::Duration;

use shared::clock::{Clock as _, SystemClock};
use shared::db::archive::seal_epoch;
use shared::db::fleet::Recorded;
use sqlx::Connection as _;
use tests::world::{PATIENCE, write};
use tokio::time::{Instant, sleep};

use super::world::{Protected, flushed};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_uploaded_and_did_not_record_is_adopted() -> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    let before = protected.until_archived(&mut customer).await?;

    // Whoever wants to record waits for this transaction.
    let url = protected.world.database.url().expose().to_owned();
    let mut holder = sqlx::PgConnection::connect(&url).await?;
    let mut held = holder.begin().await?;
    sqlx::query("select from epochs where timeline_id = $1 for update")
        .bind(protected.timeline)
        .execute(&mut *held)
        .await?;
    write(&mut customer, 1).await?;
    let epoch = protected.until_epoch("there", |_| true).await?;
    let begun = Instant::now();
    while protected.joints(&epoch).await?.last() <= Some(&before.watermark.max(epoch.watermark)) {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "nothing was uploaded");
        sleep(Duration::from_millis(50)).await;
    }
    protected.world.kill_worker(0).await?;
    // A killed client does not stop what its statement waits for.
    sqlx::query(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity
         where application_name like 'ringmaster-worker%'",
    )
    .execute(&protected.world.database.pool)
    .await?;
    held.rollback().await?;
    let left = protected.until_epoch("there", |_| true).await?;
    assert!(protected.joints(&left).await?.last() > Some(&left.watermark));

    protected.start_worker().await?;
    let adopted = ("ringmaster_wal_objects_total", &["adopted"][..]);
    protected
        .until_metric(adopted, |count| count >= 1.0)
        .await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_that_push_at_once_make_one_chain() -> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    protected.start_worker().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    let mut last = protected.until_archived(&mut customer).await?.watermark;
    for _ in 0..12 {
        // Without a queue nobody has a lease: what is under way goes on, and the ring that is built
        // anew has the same member due at once.
        write(&mut customer, 3).await?;
        protected.world.redis.flush().await?;
        let epoch = protected
            .until_epoch("moving", |epoch| epoch.watermark > last)
            .await?;
        last = epoch.watermark;
    }
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_epoch_takes_nothing_more() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    protected.until_archived(&mut customer).await?;
    let (pool, key) = (&protected.world.database.pool, (protected.timeline, 1));
    let sealed_at = loop {
        let watermark = protected.until_epoch("there", |_| true).await?.watermark;
        if seal_epoch(pool, key, watermark, SystemClock.now()).await? == Recorded::Yes {
            break watermark;
        }
    };
    write(&mut customer, 1).await?;
    protected.turned(3).await?;
    let epoch = protected
        .until_epoch("sealed", |epoch| epoch.sealed_at.is_some())
        .await?;
    assert_eq!(epoch.watermark, sealed_at);
    assert!(flushed(&mut customer).await? > sealed_at);
    protected.assert_whole(&epoch).await
}
