//! Backups that are refused, or end otherwise than they should.

use http::Method;
use shared::agent_api::RefusalCode;
use shared::agent_api::backup::{BackupOrder, BackupPhase};
use shared::ids::{BackupId, ParticipantId};
use shared::process::{Account, Signal, processes_in};
use sqlx::Executor as _;
use tests::flip_bit;
use tests::object_server::{Fault, On};

use super::driver::{back_up, drive, order, send, status};
use crate::agent::archiving::{MIB, World};

#[tokio::test]
async fn an_order_about_something_else_is_refused() -> anyhow::Result<()> {
    let world = World::start().await?;
    let refused = async |change: fn(&mut BackupOrder)| {
        let mut order = order(&world, BackupId::new()).await.unwrap();
        change(&mut order);
        let error = send(&world, &order).await.unwrap_err();
        error.refusal().unwrap_or_else(|| panic!("{error:?}")).code
    };
    let other = refused(|order| order.participant = ParticipantId::new());
    assert_eq!(other.await, RefusalCode::OtherParticipant);
    let late = refused(|order| order.generation = 0);
    assert_eq!(late.await, RefusalCode::OldGeneration);
    let early = refused(|order| order.generation = 2);
    assert_eq!(early.await, RefusalCode::UnknownGeneration);
    let cluster = refused(|order| order.system_identifier = 1);
    assert_eq!(cluster.await, RefusalCode::OtherHistory);
    let tli = refused(|order| order.run.tli = 2);
    assert_eq!(tli.await, RefusalCode::OtherHistory);
    assert_eq!(status(&world).await?, None);
    Ok(())
}

fn detail(phase: &BackupPhase) -> &str {
    let BackupPhase::Failed { detail } = phase else {
        panic!("{phase:?}");
    };
    detail
}

#[tokio::test]
async fn a_cluster_with_a_tablespace_is_refused_clearly() -> anyhow::Result<()> {
    let world = World::start().await?;
    let elsewhere = tempfile::tempdir()?;
    Account::for_postgres()?.give(elsewhere.path())?;
    // The text has only the name of a directory that the test made.
    let create = format!(
        "create tablespace elsewhere location '{}'",
        elsewhere.path().display()
    );
    let mut session = world.session().await?;
    session.execute(sqlx::AssertSqlSafe(create)).await?;
    let ended = drive(&world, BackupId::new(), |_| false).await?;
    assert!(detail(&ended.phase).contains("tablespace"), "{ended:?}");
    session.execute("drop tablespace elsewhere").await?;
    back_up(&world).await?;
    Ok(())
}

/// Kills the agent while it makes the backup `first`; the next one makes another.
async fn is_followed_by_one_that_knows_nothing(
    world: &mut World,
    first: BackupId,
) -> anyhow::Result<()> {
    world.server.kill_agent().await?;
    world.receiver.heal();
    world.server.start_agent().await?;
    world
        .server
        .until("running", |status| status.postgres.is_some())
        .await?;
    assert_eq!(status(&*world).await?, None);
    let (ended, manifest) = back_up(&*world).await?;
    assert_ne!(manifest.backup, first);
    assert_eq!(status(&*world).await?, Some(ended));
    Ok(())
}

#[tokio::test]
async fn an_agent_that_was_killed_knows_of_no_backup_and_makes_another() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    world.receiver.fail(&Method::PUT, &vec![Fault::Hang; 8]);
    let first = BackupId::new();
    let begun = drive(&world, first, |status| status.pieces_begun > 0).await?;
    assert_eq!(begun.phase, BackupPhase::Running);
    is_followed_by_one_that_knows_nothing(&mut world, first).await
}

/// Everything but the manifest is there, and PostgreSQL has ended the backup.
#[tokio::test]
async fn an_agent_that_was_killed_before_the_manifest_was_there_has_made_no_backup()
-> anyhow::Result<()> {
    let mut world = World::start().await?;
    let hang = On::method(Method::PUT).path_has("/manifest");
    world.receiver.server().faults().set(Fault::Hang, hang);
    let first = BackupId::new();
    let key = world.prefix.backup_manifest(first);
    let seen = |world: &World| {
        let seen = world.receiver.server().faults().seen();
        seen.iter().any(|(_, path)| path.ends_with(&key))
    };
    drive(&world, first, |_| seen(&world)).await?;
    is_followed_by_one_that_knows_nothing(&mut world, first).await?;
    assert!(!world.receiver.objects().await?.contains_key(&key));
    Ok(())
}

#[tokio::test]
async fn a_backup_fails_when_postgres_dies_in_the_middle_of_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.receiver.fail(&Method::PUT, &vec![Fault::Hang; 8]);
    let backup = BackupId::new();
    drive(&world, backup, |status| status.pieces_begun > 0).await?;
    for process in processes_in(&world.server.data_directory())? {
        process.signal(Signal::KILL)?;
    }
    let ended = drive(&world, backup, |_| false).await?;
    assert!(detail(&ended.phase).contains("session"), "{ended:?}");
    let again = send(&world, &order(&world, backup).await?).await?;
    assert_eq!(again.phase, ended.phase, "an ended backup stays ended");
    Ok(())
}

#[tokio::test]
async fn another_order_ends_the_backup_in_progress() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.receiver.fail(&Method::PUT, &vec![Fault::Hang; 8]);
    drive(&world, BackupId::new(), |status| status.pieces_begun > 0).await?;
    let backups = "select count(*) from pg_stat_activity where query ~ 'pg_backup_start'
        and application_name = 'ringmaster-agent'";
    world.receiver.heal();
    back_up(&world).await?;
    let left: i64 = sqlx::query_scalar(backups)
        .fetch_one(&mut world.session().await?)
        .await?;
    assert_eq!(left, 0, "its session is gone too");
    Ok(())
}

#[tokio::test]
async fn a_late_order_for_an_older_backup_is_refused_and_ends_nothing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (older, newer) = (BackupId::new(), BackupId::new());
    world.receiver.fail(&Method::PUT, &vec![Fault::Hang; 8]);
    drive(&world, newer, |status| status.pieces_begun > 0).await?;
    let refused = send(&world, &order(&world, older).await?).await;
    let error = refused.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(refusal.code, RefusalCode::OldGeneration);
    assert!(refusal.message.contains("is older than"), "{refusal:?}");
    world.receiver.heal();
    let ended = drive(&world, newer, |_| false).await?;
    assert!(
        matches!(ended.phase, BackupPhase::Finished { .. }),
        "{ended:?}"
    );
    // What has ended is in nobody's way: ids are made by more than one clock.
    let again = drive(&world, older, |_| false).await?;
    assert!(
        matches!(again.phase, BackupPhase::Finished { .. }),
        "{again:?}"
    );
    Ok(())
}

#[tokio::test]
async fn damaged_pages_are_reported_and_backed_up_as_they_are() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.write(MIB).await?;
    let mut session = world.session().await?;
    let path: String = sqlx::query_scalar("select pg_relation_filepath('written')")
        .fetch_one(&mut session)
        .await?;
    session.execute("checkpoint").await?;
    // Changed after the last write of its page, behind PostgreSQL's back.
    flip_bit(&world.server.data_directory().join(&path), 3 * 8192 + 5000)?;
    let (ended, manifest) = back_up(&world).await?;
    let BackupPhase::Finished { damaged_pages, .. } = ended.phase else {
        panic!("{ended:?}");
    };
    assert_eq!(damaged_pages, 1);
    assert_eq!(manifest.damaged_pages, [format!("{path}:3")]);
    Ok(())
}
