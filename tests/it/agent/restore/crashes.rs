//! Agents that are killed in the middle of a restore.

use std::time::Duration;

use anyhow::ensure;
use http::Method;
use shared::agent_api::InstanceRole;
use shared::agent_api::restore::Target;
use tests::object_server::{Fault, On};
use tokio::time::Instant;

use super::driver::{Fork, archived, source};
use crate::agent::archiving::{MIB, World};
use crate::agent::backup::driver::back_up;

/// How often each piece of the backup was read.
fn reads_of(world: &World, name: &str) -> usize {
    let seen = world.receiver.server().faults().seen();
    let reads = seen
        .iter()
        .filter(|(method, path)| *method == Method::GET && path.ends_with(name));
    reads.count()
}

#[tokio::test]
async fn an_agent_that_was_killed_fetches_only_what_is_not_in_place() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(60 * MIB).await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(MIB).await?;
    let end = world.push_all(start).await?;
    let part = manifest
        .parts
        .iter()
        .max_by_key(|part| part.pieces.len())
        .expect("a backup has parts");
    assert!(part.pieces.len() >= 3, "{:?}", part.pieces);
    let name = |index: usize| format!("/{:06}.zst", part.pieces[index]);
    let on = On::method(Method::GET).path_has(&name(2));
    world.receiver.server().faults().set(Fault::Hang, on);
    let mut fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    // Everything but this piece and what comes after it in its part.
    let others: u64 = manifest
        .parts
        .iter()
        .filter(|other| other.pieces != part.pieces)
        .flat_map(|other| &other.files)
        .map(|file| file.bytes)
        .sum();
    let enough = others + 16 * MIB;
    fork.drive(&world, "in the middle", |_, restore| {
        restore.bytes_done > enough
    })
    .await?;
    let before = [
        reads_of(&world, &name(0)),
        reads_of(&world, "/manifest.json.zst"),
    ];
    fork.server.kill_agent().await?;
    world.receiver.heal();
    fork.server.start_agent().await?;
    let status = fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    let restore = status.restore.expect("it was restored");
    assert_eq!(restore.bytes_done, manifest.bytes());
    let after = [
        reads_of(&world, &name(0)),
        reads_of(&world, "/manifest.json.zst"),
    ];
    assert_eq!(before, after, "what was in place is not fetched again");
    Ok(())
}

/// An agent that is killed as soon as `path` is there, which it makes when everything was fetched.
async fn killed_when_there_is(path: &str) -> anyhow::Result<()> {
    let (world, manifest, end) = archived(2 * MIB).await?;
    let last = On::method(Method::GET).path_has("/000001.zst");
    let away = Fault::Answer(503, "SlowDown");
    world.receiver.server().faults().set(away, last);
    let mut fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    fork.drive(&world, "waiting for the last piece", |_, restore| {
        restore.wants_pieces.is_empty() && reads_of(&world, "/000001.zst") > 0
    })
    .await?;
    let path = fork.server.file("server").join(path);
    assert!(!path.exists(), "{} is there already", path.display());
    world.receiver.heal();
    let begun = Instant::now();
    // Without the pauses of `drive`, which are longer than what the agent does next.
    while !path.exists() {
        ensure!(
            begun.elapsed() < Duration::from_mins(1),
            "it is not unpacked"
        );
        fork.allow(&world).await?;
    }
    fork.server.kill_agent().await?;
    fork.server.start_agent().await?;
    fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    assert!(!fork.server.file("server/data.unfinished").exists());
    Ok(())
}

#[tokio::test]
async fn an_agent_killed_before_the_data_has_its_name_ends_the_restore() -> anyhow::Result<()> {
    killed_when_there_is("data.unfinished/recovery.signal").await
}

#[tokio::test]
async fn an_agent_killed_once_the_data_has_its_name_ends_the_restore() -> anyhow::Result<()> {
    killed_when_there_is("data").await
}

/// An agent that is killed while WAL is replayed.
async fn killed_in_replay(die_with_agent: bool) -> anyhow::Result<()> {
    let (world, manifest, end) = archived(6 * MIB).await?;
    let halfway = shared::units::Lsn::from_bytes(
        manifest.stop_lsn.bytes() + (end.bytes() - manifest.stop_lsn.bytes()) / 2,
    );
    let segment = halfway.bytes() - halfway.bytes() % world.segment_bytes;
    let on = On::method(Method::GET).path_has(&format!("/{segment:016X}.zst"));
    world.receiver.server().faults().set(Fault::Hang, on);
    let source = source(&world, &manifest, end, Target::End);
    let mut fork = Fork::begin_with(&world, &source, die_with_agent).await?;
    fork.drive(&world, "in the middle", |_, restore| {
        restore.replay_lsn.is_some_and(|at| at.bytes() == segment)
    })
    .await?;
    fork.server.kill_agent().await?;
    world.receiver.heal();
    fork.server.start_agent().await?;
    fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    Ok(())
}

#[tokio::test]
async fn replay_goes_on_when_agent_and_postgres_died() -> anyhow::Result<()> {
    killed_in_replay(true).await
}

#[tokio::test]
async fn a_postgres_that_outlives_its_agent_in_replay_is_served_by_the_next() -> anyhow::Result<()>
{
    killed_in_replay(false).await
}

#[tokio::test]
async fn a_restore_that_is_not_wanted_any_more_leaves_nothing() -> anyhow::Result<()> {
    let (world, manifest, end) = archived(2 * MIB).await?;
    for stage in ["/000001.zst", "/wal/"] {
        let on = On::method(Method::GET).path_has(stage);
        world.receiver.server().faults().set(Fault::Hang, on);
        let mut fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
        let before = reads_with(&world, stage);
        fork.drive(&world, "under way", |_, _| {
            reads_with(&world, stage) > before
        })
        .await?;
        (fork.spec.generation, fork.spec.role) = (2, InstanceRole::Removed);
        fork.server.converge(&fork.spec).await?;
        for left in ["data", "data.unfinished", "restore"] {
            assert!(!fork.server.file("server").join(left).exists(), "{left}");
        }
        world.receiver.heal();
    }
    Ok(())
}

fn reads_with(world: &World, text: &str) -> usize {
    let seen = world.receiver.server().faults().seen();
    let reads = seen
        .iter()
        .filter(|(method, path)| *method == Method::GET && path.contains(text));
    reads.count()
}
