//! Proofs that a database can be restored, by real workers on real servers.

use std::time::Duration;

use anyhow::Context as _;
use http::Method;
use shared::archive::chain::segment_start;
use shared::archive::store::ObjectStore as _;
use shared::clock::{Clock as _, SystemClock};
use shared::db::archive::{NewRestoreCheck, Proof, proofs_of, release_restores};
use shared::db::archive::{RestoreCheckAsked, request_restore_check};
use shared::db::operations::{self, Operation};
use shared::domain::{
    ArchiveAlert, JobKind, OperationState, ProofState, ResourceState, TokenScope,
};
use shared::ids::{OperationId, ProofId, RequestId};
use shared::queue::Member;
use sqlx::Executor as _;
use tests::object_server::{Fault, On};
use tests::world::{PATIENCE, write};
use tokio::time::{Instant, sleep};

use super::backups::until_first_backup;
use super::world::{Protected, flushed};

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// Asks for a proof, as the API does.
async fn ask(protected: &Protected) -> anyhow::Result<Operation> {
    let (pool, now) = (&protected.world.database.pool, SystemClock.now());
    let (token_id, _) = protected
        .world
        .database
        .token(TokenScope::Write, now)
        .await?;
    let new = NewRestoreCheck {
        resource: protected.id,
        operation: OperationId::new(),
        proof: ProofId::new(),
        token_id,
        key: None,
        request_id: RequestId::new(),
        now,
    };
    let RestoreCheckAsked {
        operation,
        timeline,
    } = request_restore_check(pool, &new).await?;
    let timeline = timeline.context("it was not asked for before")?;
    let (ring, member) = Member::of_job(JobKind::Verify, timeline.as_uuid());
    protected.world.queue.wake(ring, member).await?;
    Ok(operation)
}

/// Waits until the operation has ended.
async fn until_ended(protected: &Protected, asked: &Operation) -> anyhow::Result<Operation> {
    let begun = Instant::now();
    loop {
        let found = operations::get(&protected.world.database.pool, asked.id).await?;
        let found = found.context("it was asked for")?;
        if found.state != OperationState::Pending {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            let newest = newest(protected).await?;
            let story = protected.world.story(protected.id).await?;
            anyhow::bail!("the proof does not end: {newest:#?}\n{story}");
        }
        sleep(LOOK).await;
    }
}

async fn newest(protected: &Protected) -> anyhow::Result<Option<Proof>> {
    let found = proofs_of(&protected.world.database.pool, protected.id).await?;
    Ok(found.into_iter().next())
}

/// Waits until the newest proof stands there.
async fn until(protected: &Protected, state: ProofState) -> anyhow::Result<()> {
    let begun = Instant::now();
    while newest(protected).await?.map(|proof| proof.state) != Some(state) {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "it is never {state}");
        sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until no server of a proof is left, and makes sure that nobody ever took one for a
/// database; tells how many there were.
async fn until_cleared_up(protected: &Protected) -> anyhow::Result<i64> {
    let pool = &protected.world.database.pool;
    let begun = Instant::now();
    let left = "select count(*) from participants join servers on servers.id = server_id
                where role = 'proof'
                    and (participants.state <> 'removed' or servers.state <> 'terminated')";
    while sqlx::query_scalar::<_, i64>(left).fetch_one(pool).await? > 0 {
        if begun.elapsed() > PATIENCE {
            let story = protected.world.story(protected.id).await?;
            anyhow::bail!("the server of a proof stays:\n{story}");
        }
        sleep(LOOK).await;
    }
    let taken = "select
            (select count(*) from jobs where subject_id in (select timeline_id from own))
            + (select count(*) from epochs where timeline_id in (select timeline_id from own))
            + (select count(*) from backups where timeline_id in (select timeline_id from own))
            + (select count(*) from jobs where kind = 'verify')";
    let own = "with own as (select timeline_id from participants where role = 'proof')";
    let taken: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("{own} {taken}")))
        .fetch_one(pool)
        .await?;
    assert_eq!(taken, 0, "somebody took a proof for a database");
    release_restores(pool, SystemClock.now()).await?;
    let held: i64 = sqlx::query_scalar("select count(*) from restores where released_at is null")
        .fetch_one(pool)
        .await?;
    assert_eq!(held, 0, "something is held in the archive for ever");
    let query = "select count(*) from participants where role = 'proof'";
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_proven_up_to_what_is_archived_and_nothing_is_left() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    // What a customer has set for a database is not heeded by who checks it.
    let database: String = sqlx::query_scalar("select quote_ident(current_database())")
        .fetch_one(&mut customer)
        .await?;
    for setting in ["lock_timeout = 1", "default_transaction_read_only = on"] {
        let command = format!("alter database {database} set {setting}");
        customer.execute(sqlx::AssertSqlSafe(command)).await?;
    }
    write(&mut customer, 1).await?;
    let written = flushed(&mut customer).await?;
    protected.until_archived(&mut customer).await?;

    let asked = ask(&protected).await?;
    let ended = until_ended(&protected, &asked).await?;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:#?}");
    let proof = newest(&protected).await?.context("there is a proof")?;
    assert_eq!(proof.state, ProofState::Succeeded);
    assert!(proof.lsn.is_some_and(|lsn| lsn >= written), "{proof:#?}");
    assert_eq!(proof.relations_done, proof.relations_total);
    assert!(proof.relations_total > 0, "{proof:#?}");
    assert_eq!(until_cleared_up(&protected).await?, 1);
    // The original noticed nothing.
    write(&mut customer, 1).await?;
    Ok(())
}

/// What a proof says that fails while the object `key` is damaged.
async fn complaint_about(protected: &Protected, key: &str) -> anyhow::Result<String> {
    let file = protected.server.file_of(key);
    let sound = std::fs::read(&file)?;
    protected.server.corrupt(key)?;
    let asked = ask(protected).await?;
    let ended = until_ended(protected, &asked).await?;
    assert_eq!(ended.state, OperationState::Failed);
    protected
        .until_alert(ArchiveAlert::ProofFailed, true)
        .await?;
    let alert = "select detail from alerts where name = 'proof-failed' and cleared_at is null";
    let detail: String = sqlx::query_scalar(alert)
        .fetch_one(&protected.world.database.pool)
        .await?;
    let error = ended.error.unwrap_or_default();
    assert!(detail.contains(&error), "{detail} {error}");
    until_cleared_up(protected).await?;
    std::fs::write(&file, sound)?;
    Ok(error)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_the_archive_is_named_until_it_is_proven_again() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let backups = until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 17).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    let (prefix, run) = (epoch.record.prefix(), epoch.record.run());
    let start = backups[0].start_lsn.context("it is finished")?;
    let segment = prefix.segment(run, segment_start(start, epoch.record.segment_bytes));
    until_there(&protected, &segment).await?;
    // The newest chunk is in no segment.
    let mut joints = protected.joints(&epoch).await?;
    let last = joints.iter().rposition(|at| *at < epoch.watermark);
    let last = joints.swap_remove(last.context("there is one")?);
    for key in [
        prefix.backup_manifest(backups[0].id),
        prefix.backup_piece(backups[0].id, 1),
        segment,
        prefix.chunk(run, last),
    ] {
        let error = complaint_about(&protected, &key).await?;
        assert!(error.contains(&key), "{error}");
    }
    let asked = ask(&protected).await?;
    let ended = until_ended(&protected, &asked).await?;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:#?}");
    protected
        .until_alert(ArchiveAlert::ProofFailed, false)
        .await?;
    Ok(())
}

/// Waits until the archive has `key`.
async fn until_there(protected: &Protected, key: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while protected
        .server
        .store()
        .get(key, Some(0..1))
        .await?
        .is_none()
    {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{key} is not there");
        sleep(LOOK).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_wrong_is_found_in_what_was_restored() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    // What a function said of rows when they were entered is not what it says now.
    customer
        .execute(
            "create table orders (number int);
            insert into orders select generate_series(1, 100);
            create function rank(int) returns int immutable language sql as 'select $1';
            create index orders_by_rank on orders (rank(number));
            create or replace function rank(int) returns int immutable language sql
                as 'select -$1'",
        )
        .await?;
    protected.until_archived(&mut customer).await?;
    let asked = ask(&protected).await?;
    let ended = until_ended(&protected, &asked).await?;
    assert_eq!(ended.state, OperationState::Failed);
    let error = ended.error.unwrap_or_default();
    assert!(
        error.contains("orders_by_rank") && error.contains("lacks matching index tuple"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_proof_comes_of_it_when_a_worker_dies_and_two_go_on() -> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let faults = protected.server.faults().clone();
    faults.set(Fault::Hang, On::method(Method::GET).path_has("/manifest."));
    let asked = ask(&protected).await?;
    until(&protected, ProofState::Restoring).await?;
    protected.world.kill_worker(0).await?;
    // Who asks meanwhile gets the same.
    assert_eq!(ask(&protected).await?.id, asked.id);
    protected.start_worker().await?;
    protected.start_worker().await?;
    // Without a queue nobody has a lease: both may turn it at once.
    protected.world.redis.flush().await?;
    faults.clear();
    let ended = until_ended(&protected, &asked).await?;
    assert_eq!(ended.state, OperationState::Succeeded, "{ended:#?}");
    assert_eq!(until_cleared_up(&protected).await?, 1);
    let proofs: i64 = sqlx::query_scalar("select count(*) from proofs")
        .fetch_one(&protected.world.database.pool)
        .await?;
    assert_eq!(proofs, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_ends_with_what_it_proves_and_leaves_nothing() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let faults = protected.server.faults();
    faults.set(Fault::Hang, On::method(Method::GET).path_has("/manifest."));
    let asked = ask(&protected).await?;
    until(&protected, ProofState::Restoring).await?;
    protected.world.destroy(protected.id).await?;
    let ended = until_ended(&protected, &asked).await?;
    assert_eq!(ended.error.as_deref(), Some("the resource was destroyed"));
    protected
        .world
        .until(protected.id, ResourceState::Deprovisioned)
        .await?;
    let pool = &protected.world.database.pool;
    let begun = Instant::now();
    let problem = "select problem from proofs";
    while sqlx::query_scalar::<_, Option<String>>(problem)
        .fetch_one(pool)
        .await?
        .as_deref()
        != Some("what it was to prove is gone")
    {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the proof goes on");
        sleep(LOOK).await;
    }
    until_cleared_up(&protected).await?;
    let alerts = "select count(*) from alerts where name like 'proof-%'";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(alerts).fetch_one(pool).await?,
        0
    );
    Ok(())
}
