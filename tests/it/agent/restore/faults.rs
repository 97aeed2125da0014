//! Restores while the archive fails.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use shared::agent_api::restore::{RestoreStage, Target};
use shared::agent_api::{Phase, RefusalCode};
use shared::ids::{ParticipantId, RequestId};
use tests::object_server::{Fault, On};
use tokio::time::Instant;

use super::driver::{Fork, archived, source};
use crate::agent::archiving::{MIB, SIGNATURE, World};
use crate::agent::backup::driver::back_up;

#[tokio::test]
async fn what_fails_for_a_moment_costs_only_another_attempt() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(8 * MIB).await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(4 * MIB).await?;
    let end = world.push_all(start).await?;
    let faults = [
        Fault::Answer(503, "SlowDown"),
        Fault::TruncateContent,
        Fault::LoseAnswer,
        Fault::ErrorInside200,
        // What was signed has expired: it is asked for again.
        Fault::Answer(403, "AccessDenied"),
        Fault::Answer(500, "InternalError"),
    ];
    for fault in faults {
        for part in ["/manifest", "/000002", "/wal/"] {
            let on = On::method(Method::GET).path_has(part).times(1);
            world.receiver.server().faults().set(fault.clone(), on);
        }
    }
    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    let status = fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    assert_eq!(status.crashes, 0, "PostgreSQL noticed nothing");
    let log = std::fs::read_to_string(fork.server.file("agent.log"))?;
    assert!(!log.contains(SIGNATURE), "{log}");
    let log = std::fs::read_to_string(fork.server.file("server/postgres.log"))?;
    assert!(!log.contains(SIGNATURE), "{log}");
    Ok(())
}

#[tokio::test]
async fn what_was_signed_long_ago_is_signed_anew() -> anyhow::Result<()> {
    let (world, manifest, end) = archived(3 * MIB).await?;
    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    let shortly = Duration::from_secs(1);
    let begun = Instant::now();
    // Each kind of object once too late: the manifest, pieces, and WAL.
    let mut late = [false; 3];
    while late != [true; 3] {
        ensure!(begun.elapsed() < Duration::from_mins(2), "{late:?}");
        let status = fork.server.status().await?;
        let wants = status.restore.as_ref().context("it is a restore")?;
        let kinds = [
            wants.wants_manifest,
            !wants.wants_pieces.is_empty(),
            wants.wants_wal.is_some(),
        ];
        let new = kinds.iter().zip(&late).any(|(wants, late)| *wants && !late);
        let times = if new {
            (shortly, shortly * 2)
        } else {
            (shortly * 60, Duration::ZERO)
        };
        fork.allow_after(&world, &status, times).await?;
        for (late, wants) in late.iter_mut().zip(kinds) {
            *late |= wants;
        }
    }
    let status = fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    assert_eq!(status.crashes, 0, "PostgreSQL noticed nothing");
    Ok(())
}

/// Takes a minute, in which nothing happens.
#[tokio::test]
async fn a_read_that_hangs_is_broken_off_and_made_again() -> anyhow::Result<()> {
    let (world, manifest, end) = archived(3 * MIB).await?;
    let hang = On::method(Method::GET).path_has("/000002").times(1);
    world.receiver.server().faults().set(Fault::Hang, hang);
    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    Ok(())
}

#[tokio::test]
async fn an_archive_that_is_away_is_never_the_end() -> anyhow::Result<()> {
    let (mut world, manifest, end) = archived(3 * MIB).await?;
    let hang = On::method(Method::GET).path_has("/wal/");
    world.receiver.server().faults().set(Fault::Hang, hang);
    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    fork.drive(&world, "replaying", |_, restore| {
        restore.replay_lsn.is_some()
    })
    .await?;
    world.receiver.stop().await?;
    let away = fork.server.until("in trouble", |status| {
        let restore = status.restore.as_ref();
        restore.is_some_and(|restore| restore.trouble.is_some())
    });
    let away = away.await?;
    assert_eq!(away.phase, Phase::Starting);
    assert_eq!(
        away.restore.map(|restore| restore.stage),
        Some(RestoreStage::Replaying)
    );
    world.receiver.heal();
    world.receiver.start_again().await?;
    let status = fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    assert_eq!(status.crashes, 0);
    Ok(())
}

#[tokio::test]
async fn reads_for_somebody_else_are_refused() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (client, address) = (&world.server.client, world.server.address);
    let mut reads = shared::agent_api::restore::ArchiveReads {
        participant: ParticipantId::new(),
        generation: 1,
        manifest: None,
        pieces: std::collections::BTreeMap::new(),
        wal: None,
    };
    let refused = client.allow_reads(address, &reads, RequestId::new()).await;
    let refused = refused.unwrap_err().refusal().map(|refusal| refusal.code);
    assert_eq!(refused, Some(RefusalCode::OtherParticipant));
    reads.participant = world.spec.participant;
    let answer = client
        .allow_reads(address, &reads, RequestId::new())
        .await?;
    assert_eq!(answer, None, "it was not born from a restore");
    Ok(())
}
