//! Backups while the archive fails.

use http::Method;
use shared::agent_api::backup::BackupPhase;
use shared::ids::BackupId;
use tests::object_server::{Fault, On};

use super::driver::{back_up, drive};
use crate::agent::archiving::{SIGNATURE, World};

#[tokio::test]
async fn what_fails_for_a_moment_does_not_cost_the_backup() -> anyhow::Result<()> {
    let world = World::start().await?;
    let faults = [
        Fault::Answer(503, "SlowDown"),
        Fault::ResetUpload(1000),
        Fault::LoseAnswer,
        Fault::ErrorInside200,
        // A place that has expired: another one is asked for.
        Fault::Answer(403, "AccessDenied"),
    ];
    world.receiver.fail(&Method::PUT, &faults);
    world.receiver.fail(&Method::GET, &[Fault::TruncateContent]);
    let (status, manifest) = back_up(&world).await?;
    let pieces: usize = manifest.parts.iter().map(|part| part.pieces.len()).sum();
    assert_eq!(u32::try_from(pieces)?, status.pieces_begun);
    // Each fault costs another attempt; also the read that broke off, after which it is written once
    // more.
    assert_eq!(world.receiver.requests(&Method::PUT), pieces + 1 + 6);
    let objects = world.receiver.objects().await?;
    assert_eq!(objects.len(), pieces + 1);
    let object_bytes: usize = objects.values().map(bytes::Bytes::len).sum();
    assert_eq!(u64::try_from(object_bytes)?, status.object_bytes);
    let log = std::fs::read_to_string(world.server.file("agent.log"))?;
    assert!(!log.contains(SIGNATURE), "{log}");
    Ok(())
}

/// Takes a minute, in which nothing happens.
#[tokio::test]
async fn an_upload_that_hangs_is_broken_off_and_made_again() -> anyhow::Result<()> {
    let world = World::start().await?;
    let hang = On::method(Method::PUT).path_has("/000001").times(1);
    world.receiver.server().faults().set(Fault::Hang, hang);
    let (_, manifest) = back_up(&world).await?;
    let pieces: usize = manifest.parts.iter().map(|part| part.pieces.len()).sum();
    assert_eq!(world.receiver.requests(&Method::PUT), pieces + 1 + 1);
    assert_eq!(world.receiver.objects().await?.len(), pieces + 1);
    Ok(())
}

#[tokio::test]
async fn what_is_refused_again_and_again_ends_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    world
        .receiver
        .fail(&Method::PUT, &vec![Fault::Answer(403, "AccessDenied"); 100]);
    let ended = drive(&world, BackupId::new(), |_| false).await?;
    assert!(
        matches!(&ended.phase, BackupPhase::Failed { detail }
            if detail.contains("piece") && detail.contains("403 Forbidden: AccessDenied")),
        "{ended:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_place_that_is_taken_by_something_else_ends_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    let backup = BackupId::new();
    let key = world.prefix.backup_piece(backup, 1);
    world.receiver.insert(&key, "somebody else's").await?;
    let ended = drive(&world, backup, |_| false).await?;
    assert!(
        matches!(&ended.phase, BackupPhase::Failed { detail }
            if detail.contains("piece 1") && detail.contains("another object")),
        "{ended:?}"
    );
    assert_eq!(world.receiver.objects().await?[&key], "somebody else's");
    Ok(())
}
