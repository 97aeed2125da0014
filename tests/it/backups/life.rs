//! Backups from the first to the end of their archive, when nothing is broken.

use chrono::TimeDelta;
use shared::archive::chain::segment_start;
use shared::archive::layout::start_in_name;
use shared::archive::retention::KEEP_MARKED;
use shared::archive::window::windows;
use shared::clock::Clock as _;
use shared::db::archive::{CaptureError, NewCapture, kept_wal, request_capture, restorable_of};
use shared::db::idempotency::Key;
use shared::db::operations;
use shared::domain::{
    BackupReason, BackupState, JobKind, OperationState, ResourceState, TokenScope,
};
use shared::ids::{OperationId, RequestId};
use shared::queue::Outcome;
use tests::world::write;
use workers::sweeps;

use super::world::{Backups, Stop};

/// A day, as plans count.
const DAY: TimeDelta = TimeDelta::days(1);

/// Looks who needs a backup. Tells whether this timeline does.
async fn sweep(backups: &Backups) -> anyhow::Result<bool> {
    sweeps::backups(backups.worker.context.clone())
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let query = "select exists (select from jobs where kind = 'base_backup' and subject_id = $1)";
    Ok(sqlx::query_scalar(query)
        .bind(backups.timeline)
        .fetch_one(backups.pool())
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_backup_is_made_by_itself_and_an_idle_database_makes_no_second_one()
-> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let mut customer = backups.world.connect(backups.id).await?;
    assert!(sweep(&backups).await?, "the first one is due at once");
    backups.until_backed_up().await?;
    let first = backups.newest().await?;
    assert_eq!(first.reason, BackupReason::First);
    assert!(!first.is_shared && first.bytes_done == first.bytes_total);
    let sentinel = backups.assert_whole(&first).await?;
    assert_eq!(sentinel.damaged_pages, 0);
    assert!(!sweep(&backups).await?, "the next one is not due");

    backups.push_all(&mut customer).await?;
    backups.worker.clock.advance(DAY * 2);
    let all = format!("{}/backups/", backups.prefix().await?);
    let before = backups.objects(&all).await?;
    assert!(!sweep(&backups).await?, "nothing was written");
    assert_eq!(backups.turn(JobKind::BaseBackup).await, Outcome::Done);
    assert_eq!(backups.objects(&all).await?, before);

    write(&mut customer, 20).await?;
    backups.push_all(&mut customer).await?;
    assert!(sweep(&backups).await?, "something was written");
    backups.until_backed_up().await?;
    let second = backups.newest().await?;
    assert_eq!(second.reason, BackupReason::Schedule);
    backups.assert_whole(&second).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_come_in_time_is_told_and_taken_back() -> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let open = async || -> anyhow::Result<Option<String>> {
        let query = "select detail from alerts where name = 'backup-late' and cleared_at is null";
        Ok(sqlx::query_scalar(query)
            .fetch_optional(backups.pool())
            .await?)
    };
    assert!(sweep(&backups).await?);
    backups.worker.clock.advance(TimeDelta::minutes(119));
    sweep(&backups).await?;
    assert_eq!(open().await?, None, "the plan allows two hours");
    backups.worker.clock.advance(TimeDelta::minutes(1));
    sweep(&backups).await?;
    let told = open().await?.expect("it is late");
    assert!(told.contains("nothing was tried"), "{told}");
    backups.until_backed_up().await?;
    sweep(&backups).await?;
    assert_eq!(open().await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_once_by_the_backup_that_is_made() -> anyhow::Result<()> {
    let backups = Backups::start("hobby").await?;
    let now = backups.worker.clock.now();
    let (token_id, _) = backups.world.database.token(TokenScope::Write, now).await?;
    let ask = async |text: Option<&str>, hash: u8| {
        let new = NewCapture {
            resource: backups.id,
            operation: OperationId::new(),
            token_id,
            key: text.map(|key| Key {
                key,
                request_hash: [hash; 32],
            }),
            request_id: RequestId::new(),
            now,
        };
        request_capture(backups.pool(), &new).await
    };
    let first = ask(Some("one"), 1).await?.operation;
    assert_eq!(ask(None, 1).await?.operation, first, "it is under way");
    assert_eq!(ask(Some("two"), 1).await?.operation, first);
    backups.until_backed_up().await?;
    let made = backups.newest().await?;
    assert!(made.is_shared, "it is of the whole server");
    let done = operations::get(backups.pool(), first.id).await?;
    let done = done.expect("it is there");
    assert_eq!(done.state, OperationState::Succeeded);
    for key in ["one", "two"] {
        assert_eq!(ask(Some(key), 1).await?.operation.id, first.id, "{key}");
    }
    let reused = ask(Some("one"), 2).await;
    assert!(matches!(reused, Err(CaptureError::KeyReused)), "{reused:?}");
    assert_eq!(backups.states().await?.len(), 1);

    let second = ask(None, 1).await?.operation;
    assert_ne!(second.id, first.id);
    backups.until_backed_up().await?;
    assert_eq!(backups.newest().await?.reason, BackupReason::Request);
    backups.assert_whole(&backups.newest().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_plan_does_not_keep_goes_and_what_it_keeps_is_whole() -> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let mut customer = backups.world.connect(backups.id).await?;
    let first = backups.back_up().await?;
    write(&mut customer, 40).await?;
    backups.push_all(&mut customer).await?;
    let second = backups.back_up().await?;
    write(&mut customer, 40).await?;
    backups.push_all(&mut customer).await?;
    backups.expire().await?;
    assert_eq!(backups.states().await?.len(), 2, "nothing is old enough");

    backups.worker.clock.advance(DAY * 8);
    backups.expire().await?;
    let states = backups.states().await?;
    assert_eq!(states.get(&first.id), Some(&BackupState::Expiring));
    backups.assert_whole(&first).await?;
    backups.worker.clock.advance(KEEP_MARKED);
    backups.expire().await?;
    let states = backups.states().await?;
    assert!(!states.contains_key(&first.id) && states.contains_key(&second.id));
    let prefix = backups.prefix().await?;
    assert!(backups.objects(&prefix.backup(first.id)).await?.is_empty());
    backups.assert_whole(&second).await?;
    let wal = kept_wal(backups.pool(), backups.timeline).await?;
    let needed = second
        .start_lsn
        .map(|at| segment_start(at, wal[0].segment_bytes));
    assert!(
        Some(wal[0].kept_from) <= needed && wal[0].kept_from > first.start_lsn.unwrap_or_default()
    );
    assert_eq!(wal[0].trimmed, wal[0].kept_from);
    let chunks = backups.objects(&prefix.chunks(wal[0].run)).await?;
    let starts: Vec<_> = chunks.iter().filter_map(|key| start_in_name(key)).collect();
    assert!(
        starts.iter().all(|at| *at >= wal[0].kept_from),
        "{starts:?}"
    );
    assert!(starts.contains(&wal[0].kept_from), "{starts:?}");
    let stored = restorable_of(backups.pool(), backups.id).await?;
    let found = windows(&stored.epochs, &stored.bases);
    assert_eq!(found.len(), 1, "{stored:#?}");
    assert_eq!(Some(found[0].from), second.stop_lsn);

    drop(customer);
    // The clock of the story is eight days ahead of the one that servers end by.
    sqlx::query("update plans set keep_destroyed_s = 20 * 86400")
        .execute(backups.pool())
        .await?;
    backups.world.destroy(backups.id).await?;
    backups
        .world
        .until(backups.id, ResourceState::Deprovisioned)
        .await?;
    backups.until_gone().await?;
    backups.turn(JobKind::WalPush).await;
    backups.expire().await?;
    let kept = backups.objects("timelines/").await?;
    assert!(
        kept.contains(&prefix.backup_sentinel(second.id)),
        "{kept:?}"
    );
    backups.worker.clock.advance(DAY * 15);
    backups.expire().await?;
    backups.worker.clock.advance(KEEP_MARKED);
    backups.expire().await?;
    let left = backups.objects("timelines/").await?;
    assert!(left.is_empty(), "{left:?}");
    assert!(backups.states().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clock_marked_that_had_jumped_is_kept_once_it_is_put_right() -> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let mut customer = backups.world.connect(backups.id).await?;
    let mut made = Vec::new();
    for _ in 0..2 {
        made.push(backups.back_up().await?);
        write(&mut customer, 20).await?;
        backups.push_all(&mut customer).await?;
    }
    let jump = DAY * 30;
    backups.worker.clock.advance(jump);
    backups.expire().await?;
    let states = backups.states().await?;
    assert_eq!(states.get(&made[0].id), Some(&BackupState::Expiring));
    let (pool, timeline) = (backups.pool(), backups.timeline);
    let stored = restorable_of(pool, backups.id).await?;
    assert_eq!(
        stored.bases.len(),
        1,
        "nothing is restored from it meanwhile"
    );
    backups.worker.clock.advance(KEEP_MARKED / 2);
    backups.expire().await?;

    backups.worker.clock.advance(-jump);
    backups.expire().await?;
    let states = backups.states().await?;
    assert_eq!(states.get(&made[0].id), Some(&BackupState::Finished));
    for backup in &made {
        backups.assert_whole(backup).await?;
    }
    let wal = kept_wal(pool, timeline).await?;
    assert!(Some(wal[0].kept_from) <= made[0].start_lsn, "{wal:?}");
    let stored = restorable_of(pool, backups.id).await?;
    assert_eq!(stored.bases.len(), 2);

    // Too late: once its deletion has begun, there is no way back.
    backups.worker.clock.advance(jump);
    backups.expire().await?;
    backups.worker.clock.advance(KEEP_MARKED);
    let stop = Stop::after(0);
    sweeps::retention(backups.worker.context.clone())
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut turn = backups.worker.turn(JobKind::Expire, timeline, Some(&stop));
    tokio::select! {
        outcome = &mut turn => panic!("{outcome:?} before anything is deleted"),
        () = stop.reached() => {}
    }
    drop(turn);
    backups.worker.clock.advance(-jump);
    backups.expire().await?;
    assert!(!backups.states().await?.contains_key(&made[0].id));
    backups.assert_whole(&made[1]).await?;
    Ok(())
}
