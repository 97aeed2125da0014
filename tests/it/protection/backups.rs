//! Base backups by real workers, with nothing taken by hand.

use anyhow::Context as _;
use http::Method;
use shared::archive::store::ObjectStore as _;
use shared::archive::window::windows;
use shared::db::Limit;
use shared::db::archive::{Backup, backups_of, restorable_of};
use shared::domain::BackupState;
use tests::object_server::{Fault, On};
use tests::world::{PATIENCE, write};
use tokio::time::{Instant, sleep};

use super::world::Protected;

/// Waits until what a customer is shown is as wished; answers it, newest first.
async fn until_listed(
    protected: &Protected,
    what: &str,
    wished: impl Fn(&[Backup]) -> bool,
) -> anyhow::Result<Vec<Backup>> {
    let begun = Instant::now();
    loop {
        let pool = &protected.world.database.pool;
        let listed = backups_of(pool, protected.id, None, Limit::most()).await?;
        if wished(&listed.items) {
            return Ok(listed.items);
        }
        if begun.elapsed() > PATIENCE {
            let story = protected.world.story(protected.id).await?;
            anyhow::bail!("the backups are not {what}: {listed:#?}\n{story}");
        }
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Waits until the first backup is made: until then nothing is idle.
pub(super) async fn until_first_backup(protected: &Protected) -> anyhow::Result<Vec<Backup>> {
    until_listed(protected, "made", one_is(BackupState::Finished)).await
}

/// Waits until the newest backup is under way; answers it.
pub(super) async fn until_under_way(protected: &Protected) -> anyhow::Result<Backup> {
    let is_under_way =
        |newest: &Backup| newest.state == BackupState::Running && newest.bytes_total > 0;
    let listed = until_listed(protected, "under way", |listed| {
        listed.first().is_some_and(is_under_way)
    });
    let newest = listed.await?.into_iter().next();
    newest.context("it was listed")
}

fn one_is(state: BackupState) -> impl Fn(&[Backup]) -> bool {
    move |listed| matches!(listed, [only] if only.state == state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_can_be_restored_soon_without_anybody_asking() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let listed = until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    let stored = restorable_of(&protected.world.database.pool, protected.id).await?;
    let found = windows(&stored.epochs, &stored.bases);
    assert_eq!(found.len(), 1, "{stored:#?}");
    assert_eq!(Some(found[0].from), listed[0].stop_lsn);
    assert!(found[0].to >= epoch.watermark);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backup_of_a_killed_worker_is_gone_on_with_also_by_two() -> anyhow::Result<()> {
    let mut protected = Protected::without_worker().await?;
    let faults = protected.server.faults().clone();
    faults.set(Fault::Hang, On::method(Method::PUT).path_has("/backups/"));
    protected.start_worker().await?;
    protected.make().await?;
    let is_under_way = |listed: &[Backup]| matches!(listed, [only] if only.state == BackupState::Running && only.bytes_total > 0);
    let before = until_listed(&protected, "under way", is_under_way).await?;
    protected.world.kill_worker(0).await?;
    protected.start_worker().await?;
    protected.start_worker().await?;
    // Without a queue nobody has a lease: both may turn it at once.
    protected.world.redis.flush().await?;
    faults.clear();
    let listed = until_first_backup(&protected).await?;
    assert_eq!(listed[0].id, before[0].id);

    let states: Vec<String> = sqlx::query_scalar("select state from backups")
        .fetch_all(&protected.world.database.pool)
        .await?;
    assert_eq!(states, ["finished"]);
    let epoch = protected.until_epoch("there", |_| true).await?;
    let sentinel = epoch.record.prefix().backup_sentinel(before[0].id);
    let found = protected.server.store().get(&sentinel, None).await?;
    assert!(found.is_some(), "{sentinel}");
    Ok(())
}
