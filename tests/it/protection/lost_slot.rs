//! WAL that was given up because the archive was away for too long.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::archive::plan::Target;
use shared::archive::window::{Window, windows};
use shared::db::archive::restorable;
use shared::domain::{ArchiveAlert, ResourceState};
use sqlx::{Executor as _, PgConnection};
use tests::world::{PATIENCE, write};
use tokio::time::{Instant, sleep};

use super::backups::until_first_backup;
use super::forks::{add, copy, numbers};
use super::world::{Protected, flushed, slot_restart};

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// Has the leader keep so little for the archive that it gives up what that does not have.
async fn lose_slot(protected: &Protected, customer: &mut PgConnection) -> anyhow::Result<()> {
    let mut operator = protected.world.connect_as_operator(protected.id).await?;
    operator
        .execute("alter system set max_slot_wal_keep_size = '16MB'")
        .await?;
    operator.execute("select pg_reload_conf()").await?;
    let begun = Instant::now();
    while slot_restart(customer).await?.is_some() {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the slot holds all of it");
        write(customer, 20).await?;
        operator.execute("checkpoint").await?;
    }
    operator
        .execute("alter system reset max_slot_wal_keep_size")
        .await?;
    operator.execute("select pg_reload_conf()").await?;
    Ok(())
}

async fn windows_of(protected: &Protected) -> anyhow::Result<Vec<Window>> {
    let known = restorable(&protected.world.database.pool, protected.timeline).await?;
    Ok(windows(&known.epochs, &known.bases))
}

async fn until_two_windows(protected: &Protected) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let found = windows_of(protected).await?;
        if found.len() == 2 {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let story = protected.world.story(protected.id).await?;
            anyhow::bail!("{found:#?}\n{story}");
        }
        sleep(LOOK).await;
    }
}

/// Why a copy at `target` is not made.
async fn refusal(protected: &Protected, target: Target) -> anyhow::Result<String> {
    let id = protected
        .world
        .fork(protected.id, "between", target)
        .await?;
    protected
        .world
        .until(id, ResourceState::Deprovisioned)
        .await?;
    let query = "select error from operations where resource_id = $1";
    let error: Option<String> = sqlx::query_scalar(query)
        .bind(id)
        .fetch_one(&protected.world.database.pool)
        .await?;
    Ok(error.unwrap_or_default())
}

async fn clock(customer: &mut PgConnection) -> anyhow::Result<DateTime<Utc>> {
    let query = sqlx::query_scalar("select clock_timestamp()");
    Ok(query.fetch_one(customer).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_parts_the_window_and_each_part_restores() -> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let before = flushed(&mut customer).await?;
    add(&mut customer, 2).await?;
    protected.until_archived(&mut customer).await?;

    protected.server.stop().await?;
    write(&mut customer, 20).await?;
    add(&mut customer, 3).await?;
    let (between, then) = (flushed(&mut customer).await?, clock(&mut customer).await?);
    lose_slot(&protected, &mut customer).await?;
    add(&mut customer, 4).await?;
    protected.server.start_again().await?;

    // Told, and backed up again at once: nobody asks for that.
    protected.until_alert(ArchiveAlert::Gap, true).await?;
    until_two_windows(&protected).await?;
    let reasons = "select reason from backups where state = 'finished' order by started_at";
    let reasons: Vec<String> = sqlx::query_scalar(reasons)
        .fetch_all(&protected.world.database.pool)
        .await?;
    assert_eq!(reasons, ["first", "gap"]);
    add(&mut customer, 5).await?;
    protected.until_archived(&mut customer).await?;

    let error = refusal(&protected, Target::Lsn { lsn: between }).await?;
    assert_eq!(error.matches("from").count(), 2, "both are named: {error}");
    assert!(error.contains(", and "), "{error}");
    // Until when the first goes is known only to recovery.
    let error = refusal(&protected, Target::Time { at: then }).await?;
    assert!(error.contains("was not reached"), "{error}");
    assert!(error.contains("what can be restored is"), "{error}");
    let of = |name| (protected.id, name);
    let (_, mut older) = copy(&protected, of("older"), Target::Lsn { lsn: before }).await?;
    assert_eq!(numbers(&mut older).await?, [1]);
    let (_, mut newer) = copy(&protected, of("newer"), Target::End).await?;
    assert_eq!(numbers(&mut newer).await?, [1, 2, 3, 4, 5]);
    protected.until_alert(ArchiveAlert::Gap, false).await
}
