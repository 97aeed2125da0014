//! An archive that is away, and WAL that is gone.

use http::Method;
use shared::archive::epoch::EpochRecord;
use shared::clock::{Clock as _, SystemClock};
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::{begin_epoch, protection_of};
use shared::domain::ArchiveAlert;
use shared::ids::RequestId;
use shared::units::Lsn;
use tests::object_server::{Fault, On};
use tests::world::{PATIENCE, World, write};
use tokio::time::{Instant, sleep};

use super::world::Protected;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_while_the_archive_was_away_is_drained_without_a_hole()
-> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    let before = protected.until_archived(&mut customer).await?;

    protected.server.stop().await?;
    write(&mut customer, 40).await?;
    let behind = protected
        .until_epoch("behind", |epoch| epoch.behind.is_some())
        .await?;
    assert_eq!(behind.record, before.record);
    protected.until_alert(ArchiveAlert::Behind, true).await?;
    write(&mut customer, 1).await?;

    protected.server.start_again().await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await?;
    protected.until_alert(ArchiveAlert::Behind, false).await?;
    let attempts = "select attempts from jobs where kind = 'wal_push'";
    let attempts: i32 = sqlx::query_scalar(attempts)
        .fetch_one(&protected.world.database.pool)
        .await?;
    assert_eq!(attempts, 0, "what failed is forgotten");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_a_database_that_is_destroyed_meanwhile_is_settled() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    protected.until_archived(&mut customer).await?;
    drop(customer);
    let pool = &protected.world.database.pool;
    protected.world.destroy(protected.id).await?;
    let begun = Instant::now();
    let jobs = "select count(*) from jobs where kind = 'wal_push'";
    while sqlx::query_scalar::<_, i64>(jobs).fetch_one(pool).await? > 0 {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "its WAL is still pushed");
        sleep(std::time::Duration::from_millis(50)).await;
    }
    // By somebody who had looked before.
    let late = NewAlert {
        name: ArchiveAlert::Behind.as_str(),
        subject_kind: "timeline",
        subject_id: protected.timeline.as_uuid(),
        resource_id: None,
        detail: "it waits",
        now: SystemClock.now(),
    };
    assert!(alerts::raise(pool, &late).await?);
    protected.until_alert(ArchiveAlert::Behind, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_fail_now_and_then_leave_no_hole_and_no_secret_in_a_log() -> anyhow::Result<()>
{
    let mut protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    let faults = protected.server.faults().clone();
    let put = || On::method(Method::PUT).path_has("/wal/");
    for fault in [
        Fault::LoseAnswer,
        Fault::Answer(503, "SlowDown"),
        Fault::ResetUpload(1000),
        Fault::ErrorInside200,
        Fault::LoseAnswer,
    ] {
        faults.set(fault, put().times(3));
        write(&mut customer, 3).await?;
    }
    protected.server.stop().await?;
    write(&mut customer, 1).await?;
    let failed = async || -> anyhow::Result<Option<String>> {
        let query = "select last_error from jobs where kind = 'wal_push'";
        let pool = &protected.world.database.pool;
        Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
    };
    let begun = Instant::now();
    let error = loop {
        match failed().await? {
            Some(error) => break error,
            None => anyhow::ensure!(begun.elapsed() < PATIENCE, "no push failed"),
        }
        sleep(std::time::Duration::from_millis(50)).await;
    };
    protected.server.start_again().await?;
    let epoch = protected.until_archived(&mut customer).await?;
    // What is signed is as good as a password: it is in no error and in no log.
    assert!(!error.contains("X-Amz-"), "{error}");
    for log in protected.world.logs()? {
        let text = std::fs::read_to_string(&log)?;
        assert!(!text.contains("X-Amz-"), "{}", log.display());
    }
    protected.assert_whole(&epoch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_that_is_gone_is_a_gap_that_is_known() -> anyhow::Result<()> {
    let mut protected = Protected::not_archived().await?;
    let leader = protected.world.row(protected.id).await?.base;
    let leader = leader.expect("it is placed").participant;
    // An epoch from before the first WAL of any cluster.
    let record = protected.epoch_from_zero(leader).await?;
    let pool = &protected.world.database.pool;
    assert!(begin_epoch(pool, &record, RequestId::new(), SystemClock.now()).await?);
    protected.start_worker().await?;
    protected.until_alert(ArchiveAlert::Gap, true).await?;

    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    let stored = protection_of(&protected.world.database.pool, protected.id).await?;
    let gap = stored.expect("it is placed").gap.expect("it is known");
    assert_eq!(gap.from, Lsn::from_bytes(0));
    assert!(gap.to > gap.from && gap.to < epoch.watermark);
    // After the gap the chain goes on as ever.
    let after = EpochRecord {
        start: gap.to,
        ..epoch.record.clone()
    };
    let joints = protected
        .joints(&shared::db::archive::Epoch {
            record: after,
            ..epoch.clone()
        })
        .await?;
    assert!(joints.contains(&epoch.watermark), "{joints:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_archive_nothing_is_asked_for() -> anyhow::Result<()> {
    let world = World::start().await?;
    let id = world.create("shop", "standard").await?;
    world
        .until(id, shared::domain::ResourceState::Available)
        .await?;
    let jobs: i64 = sqlx::query_scalar("select count(*) from jobs where kind = 'wal_push'")
        .fetch_one(&world.database.pool)
        .await?;
    assert_eq!(jobs, 0);
    let stored = protection_of(&world.database.pool, id).await?;
    assert!(!stored.expect("it is placed").is_asked_for);
    Ok(())
}
