//! An archive that fails, and agents that die.

use chrono::TimeDelta;
use http::Method;
use shared::archive::store::ObjectStore as _;
use shared::clock::Clock as _;
use shared::db::archive::fail_backup;
use shared::db::fleet::Recorded;
use shared::domain::{BackupState, JobKind};
use shared::ids::BackupId;
use shared::process::Signal;
use tests::object_server::{Fault, On};
use tokio::time::Instant;

use super::world::{Backups, Stop};

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_fails_now_and_then_costs_no_backup() -> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let faults = backups.server.faults();
    let put = || On::method(Method::PUT).path_has("/backups/");
    for fault in [
        Fault::Answer(503, "SlowDown"),
        Fault::ResetUpload(1000),
        Fault::LoseAnswer,
        Fault::ErrorInside200,
    ] {
        faults.set(fault, put().times(2));
    }
    // Those of the worker: the sentinel is stored, and its answer lost; manifest and lists fail.
    let sentinel = On::method(Method::PUT).path_has("backup.json");
    faults.set(Fault::LoseAnswer, sentinel.times(1));
    let manifest = On::method(Method::GET).path_has("manifest.json");
    faults.set(Fault::Answer(500, "InternalError"), manifest.times(4));
    let list = On::method(Method::GET).path_has("archive");
    faults.set(Fault::TruncateContent, list.times(3));
    let made = backups.back_up().await?;
    backups.assert_whole(&made).await?;
    assert_eq!(backups.states().await?.len(), 1, "none was given up");
    Ok(())
}

/// Takes turns, without pushes, until `done`.
async fn until(
    backups: &Backups,
    what: &str,
    done: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !done().await? {
        backups.turn(JobKind::BaseBackup).await;
        backups.still_waits(what, begun).await?;
    }
    Ok(())
}

async fn the_running_one(backups: &Backups) -> anyhow::Result<Option<BackupId>> {
    let states = backups.states().await?;
    let mut running = states.iter();
    let running = running.find(|(_, state)| **state == BackupState::Running);
    Ok(running.map(|(id, _)| *id))
}

/// Turns the job until the manifest of a backup is in the archive; gives that backup, which runs.
async fn until_uploaded(backups: &Backups) -> anyhow::Result<BackupId> {
    let prefix = backups.prefix().await?;
    let uploaded = async || {
        let Some(id) = the_running_one(backups).await? else {
            return Ok(false);
        };
        let store = backups.server.store();
        let manifest = store.get(&prefix.backup_manifest(id), None).await?;
        Ok(manifest.is_some())
    };
    until(backups, "a manifest", uploaded).await?;
    Ok(the_running_one(backups).await?.expect("it runs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_its_agent_lost_is_never_listed_and_cleaned_up() -> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let faults = backups.server.faults().clone();
    // The first piece is stored, and then nothing more.
    let second = On::method(Method::PUT).path_has("/000002.zst");
    faults.set(Fault::Hang, second);
    let third = On::method(Method::PUT).path_has("/000003.zst");
    faults.set(Fault::Hang, third);
    backups.ask().await?;
    let prefix = backups.prefix().await?;
    let uploaded = async || {
        let Some(id) = the_running_one(&backups).await? else {
            return Ok(false);
        };
        Ok(!backups.objects(&prefix.backup(id)).await?.is_empty())
    };
    until(&backups, "an upload", uploaded).await?;
    let lost = the_running_one(&backups).await?.expect("it runs");
    let row = backups.world.row(backups.id).await?;
    let server = row.base.expect("it is placed").server;
    backups.world.agent(server)?.signal(Signal::KILL)?;
    let given_up = async || {
        let states = backups.states().await?;
        Ok(states.get(&lost) == Some(&BackupState::Failed))
    };
    faults.clear();
    until(&backups, "the end of the lost one", given_up).await?;
    let mut listed = backups.listed().await?;
    listed.retain(|backup| backup.id == lost);
    assert!(listed.is_empty(), "{listed:#?}");

    backups.until_backed_up().await?;
    let made = backups.newest().await?;
    backups.assert_whole(&made).await?;
    backups.expire().await?;
    let left = backups.objects(&prefix.backup(lost)).await?;
    assert!(!left.is_empty(), "an upload may still be under way");
    backups.worker.clock.advance(TimeDelta::hours(1));
    backups.expire().await?;
    let left = backups.objects(&prefix.backup(lost)).await?;
    assert!(left.is_empty(), "{left:?}");
    let states = backups.states().await?;
    assert_eq!(states.into_keys().collect::<Vec<_>>(), [made.id]);
    backups.assert_whole(&made).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_a_backup_before_its_wal_is_there_or_without_one_of_its_pieces()
-> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    backups.ask().await?;
    let broken = until_uploaded(&backups).await?;
    let prefix = backups.prefix().await?;
    for _ in 0..3 {
        backups.turn(JobKind::BaseBackup).await;
    }
    let store = backups.server.store();
    let sentinel = store.get(&prefix.backup_sentinel(broken), None).await?;
    assert!(sentinel.is_none(), "its WAL is not in the archive yet");
    store.delete(&[prefix.backup_piece(broken, 1)]).await?;

    backups.until_backed_up().await?;
    let made = backups.newest().await?;
    backups.assert_whole(&made).await?;
    assert_ne!(made.id, broken);
    let states = backups.states().await?;
    assert_eq!(states.get(&broken), Some(&BackupState::Failed));
    let problem: String = sqlx::query_scalar("select problem from backups where id = $1")
        .bind(broken)
        .fetch_one(backups.pool())
        .await?;
    assert!(problem.contains("piece 1"), "{problem}");
    let sentinel = store.get(&prefix.backup_sentinel(broken), None).await?;
    assert!(sentinel.is_none(), "it is no backup");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_backup_is_found_although_its_agent_forgot_it() -> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    backups.ask().await?;
    let complete = until_uploaded(&backups).await?;
    let row = backups.world.row(backups.id).await?;
    let server = row.base.expect("it is placed").server;
    backups.world.agent(server)?.signal(Signal::KILL)?;
    backups.until_backed_up().await?;
    assert_eq!(backups.newest().await?.id, complete);
    backups.assert_whole(&backups.newest().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stalled_until_its_backup_was_deleted_leaves_no_sentinel()
-> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let prefix = backups.prefix().await?;
    let store = backups.server.store();
    // Right before the sentinel is written, and right after.
    for after in 0..2 {
        backups.ask().await?;
        let lost = until_uploaded(&backups).await?;
        for _ in 0..3 {
            backups.turn(JobKind::BaseBackup).await;
        }
        let mut customer = backups.world.connect(backups.id).await?;
        backups.push_all(&mut customer).await?;
        let stop = Stop::after(after);
        let (worker, timeline) = (&backups.worker, backups.timeline);
        let mut turn = worker.turn(JobKind::BaseBackup, timeline, Some(&stop));
        tokio::select! {
            outcome = &mut turn => panic!("{outcome:?} before the sentinel"),
            () = stop.reached() => {}
        }
        let sentinel = prefix.backup_sentinel(lost);
        let is_there = store.get(&sentinel, None).await?.is_some();
        assert_eq!(is_there, after == 1, "it stopped elsewhere");
        let now = worker.clock.now();
        let failed = fail_backup(backups.pool(), lost, "a fault", now).await?;
        assert_eq!(failed, Recorded::Yes);
        worker.clock.advance(TimeDelta::hours(1));
        backups.expire().await?;
        assert!(!backups.states().await?.contains_key(&lost));

        stop.go_on();
        turn.await;
        let left = backups.objects(&prefix.backup(lost)).await?;
        assert!(left.is_empty(), "{left:?}");
        backups.until_backed_up().await?;
        backups.assert_whole(&backups.newest().await?).await?;
    }
    Ok(())
}
