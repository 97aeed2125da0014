//! Where a restore ends.

use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use shared::agent_api::restore::{RestoreStage, Target};
use sqlx::{Connection as _, Executor as _};

use super::driver::{Fork, archived, now, source};
use crate::agent::archiving::{MIB, World};
use crate::agent::backup::driver::back_up;

#[tokio::test]
async fn the_end_has_all_that_is_archived_and_belongs_to_the_roles_of_the_spec()
-> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let mut session = world.session().await?;
    // The fork has a password of its own, and a stranger none.
    session
        .execute(
            "alter role shop password 'of the parent';
            create role stranger login superuser password 'x'",
        )
        .await?;
    world.write(2 * MIB).await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(3 * MIB).await?;
    let rows = world.rows();
    let end = world.push_all(start).await?;
    world.write(MIB).await?;

    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::End)).await?;
    let status = fork.finish(&world).await?;
    let postgres = status.postgres.context("it runs")?;
    let restore = status.restore.context("it was restored")?;
    let RestoreStage::Finished(restored) = restore.stage else {
        panic!("{restore:?}");
    };
    assert_eq!((restored.tli, restored.parent_tli), (2, 1));
    assert_eq!(postgres.tli, 2);
    assert_eq!(
        restored.began_at, end,
        "the push ended where the last record does"
    );
    assert_eq!(restore.bytes_done, restore.bytes_total);
    assert_eq!(fork.rows().await?, rows);
    let mut shop = fork.server.connect(&fork.spec, "shop", "shop").await?;
    shop.execute("create table own (id int)").await?;
    shop.close().await?;
    let mut session = fork.session().await?;
    let strangers: Vec<String> = sqlx::query_scalar(
        "select rolname::text from pg_authid
        where (rolcanlogin or rolsuper or rolpassword is not null)
            and rolname not in ('shop', 'ringmaster', 'postgres')",
    )
    .fetch_all(&mut session)
    .await?;
    assert!(strangers.is_empty(), "{strangers:?}");
    let slots: i64 = sqlx::query_scalar("select count(*) from pg_replication_slots")
        .fetch_one(&mut session)
        .await?;
    assert_eq!(slots, 1);
    assert!(
        !fork.server.file("server/restore").exists(),
        "nothing is left over"
    );
    assert_eq!(status.crashes, 0);
    Ok(())
}

#[tokio::test]
async fn a_position_is_kept_to_although_the_archive_goes_on() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(MIB).await?;
    let rows = world.rows();
    let lsn = world.flush_lsn().await?;
    world.write(3 * MIB).await?;
    let end = world.push_all(start).await?;

    let to_position = source(&world, &manifest, end, Target::Lsn { lsn });
    let fork = Fork::begin(&world, &to_position).await?;
    fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, rows);
    // The archive has more, but the history was left here.
    let cut = source(&world, &manifest, lsn, Target::End);
    let fork = Fork::begin(&world, &cut).await?;
    let status = fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, rows);
    let stage = status.restore.context("it was restored")?.stage;
    assert!(
        matches!(stage, RestoreStage::Finished(restored) if restored.began_at == lsn),
        "{stage:?}"
    );
    Ok(())
}

/// Commits of one row each, in the order of their times: one session takes the time of its commit
/// only when the one before has written its own. (Where that is not so, PostgreSQL stops at the
/// first commit that is later, and a time before it may follow.)
async fn commits(world: &World, seed: i32) -> anyhow::Result<()> {
    let mut session = world.session().await?;
    for number in 0..120 {
        sqlx::query(
            "with locked as materialized (select pg_advisory_xact_lock(1))
            insert into commits select $1 from locked",
        )
        .bind(seed * 1000 + number)
        .execute(&mut session)
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_of_twenty_moments_under_load_has_exactly_what_was_committed_until_then()
-> anyhow::Result<()> {
    let world = World::with_segments(1, &[("track_commit_timestamp", "on")]).await?;
    let start = world.start_of_slot().await?;
    let mut session = world.session().await?;
    session
        .execute("create table commits (id int primary key)")
        .await?;
    let loads = |seeds: [i32; 3]| {
        let loads = seeds.map(|seed| commits(&world, seed));
        futures::future::try_join_all(loads)
    };
    loads([1, 2, 3]).await?;
    let (_, manifest) = back_up(&world).await?;
    loads([4, 5, 6]).await?;
    let committed: Vec<(i32, DateTime<Utc>)> =
        sqlx::query_as("select id, pg_xact_commit_timestamp(xmin) from commits")
            .fetch_all(&mut session)
            .await?;
    let end = world.push_all(start).await?;
    let complete_until = now(&world).await?;

    let after = committed.iter().filter(|(_, at)| *at > manifest.stopped_at);
    let moments: Vec<DateTime<Utc>> = after.map(|(_, at)| *at).collect();
    let mut random = StdRng::seed_from_u64(20);
    let chosen: Vec<DateTime<Utc>> = moments.choose_multiple(&mut random, 20).copied().collect();
    assert_eq!(chosen.len(), 20);
    let (world, manifest, committed) = (&world, &manifest, &committed);
    let restored = chosen.into_iter().map(async |at| -> anyhow::Result<()> {
        let mut source = source(world, manifest, end, Target::Time { at });
        source.complete_until = complete_until;
        let fork = Fork::begin(world, &source).await?;
        fork.finish(world).await?;
        let found: Vec<i32> = sqlx::query_scalar("select id from commits")
            .fetch_all(&mut fork.session().await?)
            .await?;
        let expected = committed.iter().filter(|(_, of)| *of <= at);
        let expected: BTreeSet<i32> = expected.map(|(id, _)| *id).collect();
        assert_eq!(BTreeSet::from_iter(found), expected, "at {at}");
        Ok(())
    });
    let restored = restored.map(Box::pin);
    stream::iter(restored)
        .buffer_unordered(3)
        .try_collect()
        .await
}

#[tokio::test]
async fn a_moment_after_the_last_commit_is_the_end_if_the_archive_covers_it() -> anyhow::Result<()>
{
    let (world, manifest, end) = archived(MIB).await?;
    let at = now(&world).await?;
    let mut covered = source(&world, &manifest, end, Target::Time { at });
    covered.complete_until = at;
    let fork = Fork::begin(&world, &covered).await?;
    let status = fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows());
    assert_eq!(status.crashes, 0, "a target that is not found is no crash");

    // The same moment, of which the archive does not know that it has everything.
    let mut open = covered;
    open.complete_until = at - TimeDelta::microseconds(1);
    let fork = Fork::begin(&world, &open).await?;
    let detail = fork.fail(&world).await?;
    assert!(detail.contains("was not reached"), "{detail}");
    assert!(detail.contains(&format!("({end})")), "{detail}");
    Ok(())
}

#[tokio::test]
async fn a_target_outside_of_the_window_is_refused_with_the_window() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(MIB).await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(MIB).await?;
    let end = world.push_all(start).await?;
    let window = format!("({}) to", manifest.stop_lsn);
    let targets = [
        Target::Lsn {
            lsn: manifest.start_lsn,
        },
        Target::Time {
            at: manifest.started_at,
        },
    ];
    for target in targets {
        let fork = Fork::begin(&world, &source(&world, &manifest, end, target)).await?;
        let detail = fork.fail(&world).await?;
        assert!(detail.contains(&window), "{detail}");
        assert!(!fork.server.data_directory().exists());
    }
    // A year from now: nothing is refused before recovery has looked.
    let at = now(&world).await? + TimeDelta::days(365);
    let fork = Fork::begin(&world, &source(&world, &manifest, end, Target::Time { at })).await?;
    let detail = fork.fail(&world).await?;
    assert!(
        detail.contains("was not reached") && detail.contains(&window),
        "{detail}"
    );
    Ok(())
}
