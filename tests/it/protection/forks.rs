//! Copies of a database, as it is and as it was, by real workers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::Method;
use shared::archive::plan::Target;
use shared::archive::store::ObjectStore as _;
use shared::clock::{Clock as _, SystemClock};
use shared::db::archive::{NewCapture, current_epoch, lineage, request_capture};
use shared::db::operations;
use shared::db::resources::fork;
use shared::domain::{JobKind, OperationState, ResourceState, TokenScope};
use shared::ids::{BackupId, OperationId, RequestId, ResourceId, TimelineId};
use shared::queue::Member;
use shared::units::Lsn;
use sqlx::{Executor as _, PgConnection};
use tests::object_server::{Fault, On};
use tests::world::PATIENCE;
use tokio::time::{Instant, sleep};

use super::backups::{until_first_backup, until_under_way};
use super::world::{Protected, flushed};

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// Adds a number to a table, and commits.
pub(super) async fn add(customer: &mut PgConnection, number: i32) -> anyhow::Result<()> {
    customer
        .execute("create table if not exists numbers (number int primary key)")
        .await?;
    sqlx::query("insert into numbers values ($1)")
        .bind(number)
        .execute(customer)
        .await?;
    Ok(())
}

pub(super) async fn numbers(customer: &mut PgConnection) -> anyhow::Result<Vec<i32>> {
    let query = "select number from numbers order by number";
    Ok(sqlx::query_scalar(query).fetch_all(customer).await?)
}

/// A copy that is available, and a connection of its owner.
pub(super) async fn copy(
    protected: &Protected,
    (parent, name): (ResourceId, &str),
    target: Target,
) -> anyhow::Result<(ResourceId, PgConnection)> {
    let id = protected.world.fork(parent, name, target).await?;
    protected.world.until(id, ResourceState::Available).await?;
    Ok((id, protected.world.connect(id).await?))
}

pub(super) async fn timeline_of(
    protected: &Protected,
    id: ResourceId,
) -> anyhow::Result<TimelineId> {
    let found = fork::timeline_of(&protected.world.database.pool, id).await?;
    found.ok_or_else(|| anyhow::anyhow!("it is on a timeline"))
}

/// Waits until a copy has a backup of its own.
pub(super) async fn until_backed_up(protected: &Protected, id: ResourceId) -> anyhow::Result<()> {
    let timeline = timeline_of(protected, id).await?;
    let begun = Instant::now();
    loop {
        let lineage = lineage(&protected.world.database.pool, timeline).await?;
        let backups = lineage.map(|lineage| lineage.backups).unwrap_or_default();
        if backups.iter().any(|backup| backup.timeline == timeline) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            anyhow::bail!("no backup: {}", protected.world.story(id).await?);
        }
        sleep(LOOK).await;
    }
}

/// Asks for a backup that is made now, and wakes its job, as the API does.
pub(crate) async fn ask_to_capture(
    protected: &Protected,
    resource: ResourceId,
) -> anyhow::Result<OperationId> {
    let (pool, now) = (&protected.world.database.pool, SystemClock.now());
    let (token_id, _) = protected
        .world
        .database
        .token(TokenScope::Write, now)
        .await?;
    let capture = NewCapture {
        resource,
        operation: OperationId::new(),
        token_id,
        key: None,
        request_id: RequestId::new(),
        now,
    };
    let captured = request_capture(pool, &capture).await?;
    if let Some(timeline) = captured.timeline {
        let (ring, member) = Member::of_job(JobKind::BaseBackup, timeline.as_uuid());
        protected.world.queue.wake(ring, member).await?;
    }
    Ok(captured.operation.id)
}

/// Has a backup made now, and waits for it.
pub(crate) async fn capture(protected: &Protected, resource: ResourceId) -> anyhow::Result<()> {
    let operation = ask_to_capture(protected, resource).await?;
    until_succeeded(protected, operation).await
}

/// Waits until what was asked for is there.
pub(super) async fn until_succeeded(
    protected: &Protected,
    operation: OperationId,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let found = operations::get(&protected.world.database.pool, operation).await?;
        match found.map(|found| found.state) {
            Some(OperationState::Succeeded) => return Ok(()),
            state => anyhow::ensure!(begun.elapsed() < PATIENCE, "the operation is {state:?}"),
        }
        sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_all_that_was_committed_and_is_a_database_of_its_own() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    // Also before the first backup and the next push.
    let (fork, mut owner) = copy(&protected, (protected.id, "staging"), Target::End).await?;
    assert_eq!(numbers(&mut owner).await?, [1]);
    add(&mut owner, 2).await?;
    owner
        .execute("alter table numbers add column note text")
        .await?;
    add(&mut customer, 3).await?;
    assert_eq!(numbers(&mut owner).await?, [1, 2]);
    assert_eq!(numbers(&mut customer).await?, [1, 3]);

    // It is protected by itself, on a timeline of its own that says where it comes from.
    until_backed_up(&protected, fork).await?;
    let pool = &protected.world.database.pool;
    let timeline = timeline_of(&protected, fork).await?;
    let epoch = current_epoch(pool, timeline)
        .await?
        .expect("it is archived");
    let parent = epoch.record.parent.expect("it comes from another timeline");
    assert_eq!((parent.timeline, parent.epoch), (protected.timeline, 1));
    assert_eq!(epoch.record.tli, 2);
    let stored: (Option<TimelineId>, Option<i64>) =
        sqlx::query_as("select parent_id, branch_lsn from timelines where id = $1")
            .bind(timeline)
            .fetch_one(pool)
            .await?;
    let cut = i64::try_from(parent.cut.bytes())?;
    assert_eq!(stored, (Some(protected.timeline), Some(cut)));

    // The role of the original is not one of the copy.
    let roles: Vec<String> =
        sqlx::query_scalar("select rolname::text from pg_roles where rolcanlogin")
            .fetch_all(&mut owner)
            .await?;
    let original = protected.world.row(protected.id).await?.role_name;
    assert!(!roles.contains(&original), "{roles:?}");
    drop(owner);
    protected.world.destroy(fork).await?;
    protected
        .world
        .until(fork, ResourceState::Deprovisioned)
        .await?;
    assert_eq!(numbers(&mut customer).await?, [1, 3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_as_it_was_at_a_moment_or_a_position() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let at: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(&mut customer)
        .await?;
    add(&mut customer, 2).await?;
    let lsn = flushed(&mut customer).await?;
    add(&mut customer, 3).await?;

    let ((_, mut then), (_, mut there)) = tokio::try_join!(
        copy(&protected, (protected.id, "then"), Target::Time { at }),
        copy(&protected, (protected.id, "there"), Target::Lsn { lsn }),
    )?;
    assert_eq!(numbers(&mut then).await?, [1]);
    // With the one record that begins there.
    assert_eq!(numbers(&mut there).await?, [1, 2]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_copy_restores_also_when_the_original_is_gone() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let (first, mut owner) = copy(&protected, (protected.id, "first"), Target::End).await?;
    add(&mut owner, 2).await?;
    // Perhaps through the archive of the original: the copy may have no backup of its own yet.
    let (_, mut second) = copy(&protected, (first, "second"), Target::End).await?;
    assert_eq!(numbers(&mut second).await?, [1, 2]);

    drop(customer);
    protected.world.destroy(protected.id).await?;
    protected
        .world
        .until(protected.id, ResourceState::Deprovisioned)
        .await?;
    add(&mut owner, 3).await?;
    // From its own backup, made on a history that is not the first one of its cluster.
    capture(&protected, first).await?;
    let (third, mut owner) = copy(&protected, (first, "third"), Target::End).await?;
    assert_eq!(numbers(&mut owner).await?, [1, 2, 3]);
    until_backed_up(&protected, third).await?;
    let timeline = timeline_of(&protected, third).await?;
    let epoch = current_epoch(&protected.world.database.pool, timeline).await?;
    assert_eq!(epoch.map(|epoch| epoch.record.tli), Some(3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_is_refused_and_leaves_nothing() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let beyond = Target::Lsn {
        lsn: Lsn::from_bytes(1 << 40),
    };
    let id = protected
        .world
        .fork(protected.id, "staging", beyond)
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
    let error = error.unwrap_or_default();
    let named = "cannot be restored: what can be restored is from";
    assert!(error.contains(named), "{error}");
    // The name is free.
    copy(&protected, (protected.id, "staging"), Target::End).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_while_its_worker_dies_and_its_original_is_written_to() -> anyhow::Result<()>
{
    let mut protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let id = protected
        .world
        .fork(protected.id, "staging", Target::End)
        .await?;
    protected
        .world
        .until_row(id, "attached", |row| row.base.is_some())
        .await?;
    protected.world.kill_worker(0).await?;
    for number in 2..50 {
        add(&mut customer, number).await?;
    }
    protected.start_worker().await?;
    protected.world.until(id, ResourceState::Available).await?;
    let mut owner = protected.world.connect(id).await?;
    // All of what was committed before, and nothing with a hole.
    let found = numbers(&mut owner).await?;
    let expected: Vec<i32> = (1..).take(found.len()).collect();
    assert!(!found.is_empty() && found == expected, "{found:?}");
    assert_eq!(numbers(&mut customer).await?.len(), 49);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_while_its_original_is_backed_up() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let known = until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    // The next one is under way for as long as we want.
    let prefix = protected.until_epoch("there", |_| true).await?;
    let of_original = format!("{}/backups/", prefix.record.prefix());
    let faults = protected.server.faults();
    faults.set(Fault::Hang, On::method(Method::PUT).path_has(&of_original));
    let asked = ask_to_capture(&protected, protected.id).await?;
    until_under_way(&protected).await?;
    add(&mut customer, 2).await?;
    let (_, mut owner) = copy(&protected, (protected.id, "staging"), Target::End).await?;
    assert_eq!(numbers(&mut owner).await?, [1, 2]);
    let from: Vec<BackupId> = sqlx::query_scalar("select backup_id from restores")
        .fetch_all(&protected.world.database.pool)
        .await?;
    assert_eq!(from, [known[0].id]);
    protected.server.faults().clear();
    until_succeeded(&protected, asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_only_a_row_knows_is_not_restored_from() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let known = until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    let gone = epoch.record.prefix().backup_sentinel(known[0].id);
    protected.server.store().delete(&[gone]).await?;
    let (_, mut owner) = copy(&protected, (protected.id, "staging"), Target::End).await?;
    assert_eq!(numbers(&mut owner).await?, [1]);
    let from: Vec<BackupId> = sqlx::query_scalar("select backup_id from restores")
        .fetch_all(&protected.world.database.pool)
        .await?;
    assert!(
        !from.is_empty() && !from.contains(&known[0].id),
        "{from:?} {known:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_can_be_destroyed_before_it_is_there() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    // What it would restore from does not answer any more.
    let faults = protected.server.faults();
    faults.set(Fault::Hang, On::method(Method::GET).path_has("/manifest."));
    let id = protected
        .world
        .fork(protected.id, "staging", Target::End)
        .await?;
    let told = "select generation > 0 from participants where restore_id is not null";
    let begun = Instant::now();
    while sqlx::query_scalar::<_, bool>(told)
        .fetch_optional(&protected.world.database.pool)
        .await?
        != Some(true)
    {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "nobody is told to restore");
        sleep(LOOK).await;
    }
    protected.world.destroy(id).await?;
    let row = protected
        .world
        .until(id, ResourceState::Deprovisioned)
        .await?;
    assert!(row.base.is_none(), "{row:#?}");
    Ok(())
}
