//! Objects that are damaged, gone, or somebody else's.

use anyhow::Context as _;
use shared::agent_api::restore::{RestoreStage, Target};
use shared::archive::layout::start_in_name;
use shared::archive::manifest::Manifest;
use shared::archive::store::ObjectStore as _;

use super::driver::{Fork, archived, source};
use crate::agent::archiving::{MIB, RUN, World};

/// The name of a chunk some way behind the backup.
async fn later_chunk(world: &World, manifest: &Manifest) -> anyhow::Result<String> {
    let objects = world.receiver.objects().await?;
    let chunks = world.prefix.chunks(RUN);
    let mut later = objects.into_keys().filter(|key| {
        let start = start_in_name(key).filter(|_| key.starts_with(&chunks));
        start.is_some_and(|start| start.bytes() > manifest.stop_lsn.bytes() + MIB)
    });
    later.next().context("there is WAL after the backup")
}

#[tokio::test]
async fn a_damaged_piece_is_named_and_nothing_is_started() -> anyhow::Result<()> {
    let (world, manifest, end) = archived(5 * MIB).await?;
    let piece = *manifest.parts[0]
        .pieces
        .last()
        .context("a part has pieces")?;
    let key = world.prefix.backup_piece(manifest.backup, piece);
    world.receiver.server().corrupt(&key)?;
    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    let detail = fork.fail(&world).await?;
    assert!(
        detail.contains(&key) && detail.contains("damaged"),
        "{detail}"
    );
    assert!(!fork.server.data_directory().exists());
    assert_eq!(fork.server.postgres_log(), "");
    Ok(())
}

#[tokio::test]
async fn a_piece_or_manifest_that_is_gone_or_of_another_backup_is_named() -> anyhow::Result<()> {
    let (world, manifest, end) = archived(5 * MIB).await?;
    let wanted = source(&world, &manifest, end, Target::End);
    let first = world.prefix.backup_piece(manifest.backup, 1);
    let second = world.prefix.backup_piece(manifest.backup, 2);
    let objects = world.receiver.objects().await?;
    world
        .receiver
        .insert(&first, objects[&second].clone())
        .await?;
    let fork = Fork::begin(&world, &wanted).await?;
    let detail = fork.fail(&world).await?;
    assert!(
        detail.contains(&first) && detail.contains("another object"),
        "{detail}"
    );

    world
        .receiver
        .store()
        .delete(std::slice::from_ref(&first))
        .await?;
    let fork = Fork::begin(&world, &wanted).await?;
    let detail = fork.fail(&world).await?;
    assert_eq!(detail, format!("{first} is not in the archive"));

    let key = world.prefix.backup_manifest(manifest.backup);
    world.receiver.server().corrupt(&key)?;
    let fork = Fork::begin(&world, &wanted).await?;
    let detail = fork.fail(&world).await?;
    assert!(
        detail.contains(&key) && detail.contains("damaged"),
        "{detail}"
    );
    Ok(())
}

#[tokio::test]
async fn a_damaged_chunk_is_named_and_recovery_goes_on_once_it_is_mended() -> anyhow::Result<()> {
    let (world, manifest, end) = archived(5 * MIB).await?;
    let key = later_chunk(&world, &manifest).await?;
    let whole = world.receiver.objects().await?[&key].clone();
    world.receiver.server().corrupt(&key)?;
    let mut fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    let detail = fork.fail(&world).await?;
    assert!(
        detail.contains(&key) && detail.contains("damaged"),
        "{detail}"
    );
    let data = fork.server.data_directory();
    assert!(
        data.join("recovery.signal").exists(),
        "it was never promoted"
    );
    assert!(!data.join("pg_wal/00000002.history").exists());

    // Only when a person asks for it: with the object as it was, it goes on where it stood.
    world.receiver.insert(&key, whole).await?;
    (fork.spec.generation, fork.spec.incarnation) = (2, 2);
    fork.server.instruct(&fork.spec).await?;
    let going_on = fork.server.until("going on", |status| {
        let restore = status.restore.as_ref();
        restore.is_some_and(|restore| !matches!(restore.stage, RestoreStage::Failed { .. }))
    });
    going_on.await?;
    fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    Ok(())
}

#[tokio::test]
async fn wal_that_is_not_there_below_the_watermark_is_waited_for_and_then_lost()
-> anyhow::Result<()> {
    let (world, manifest, end) = archived(5 * MIB).await?;
    let key = later_chunk(&world, &manifest).await?;
    let start = start_in_name(&key).context("it is a chunk")?;
    let whole = world.receiver.objects().await?[&key].clone();
    world
        .receiver
        .store()
        .delete(std::slice::from_ref(&key))
        .await?;
    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    let waits = fork.drive(&world, "waiting", |status, restore| {
        let trouble = restore.trouble.as_ref();
        restore.replay_lsn == Some(start)
            && trouble.is_some_and(|trouble| trouble.contains(&start.to_string()))
            && status.last_error == restore.trouble
    });
    let status = waits.await?;
    assert_eq!(status.converged_generation, 0);
    let data = fork.server.data_directory();
    assert!(data.join("recovery.signal").exists(), "it waits");
    world.receiver.insert(&key, whole).await?;
    let status = fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    assert_eq!(status.crashes, 0);

    world.receiver.remove(&key).await?;
    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    let detail = fork.fail(&world).await?;
    assert!(
        detail.ends_with(&format!("there is no WAL at {start}")),
        "{detail}"
    );
    let data = fork.server.data_directory();
    assert!(
        data.join("recovery.signal").exists(),
        "it was never promoted"
    );
    Ok(())
}
