//! Restores over several promotions.

use anyhow::{Context as _, ensure};
use shared::agent_api::restore::{Leg, RestoreStage, Restored, Target};
use shared::agent_api::wal::{Place, Placed, WalPush};
use shared::archive::layout::Run;
use shared::ids::RequestId;
use shared::units::Lsn;
use sqlx::Executor as _;

use super::driver::{Fork, source};
use crate::agent::archiving::{MIB, World};
use crate::agent::backup::driver::back_up;

/// Pushes all WAL of a fork from the start of the segment that it began in, as an epoch of the same
/// timeline. Gives up to where.
async fn push(world: &World, fork: &Fork, run: Run, began_at: Lsn) -> anyhow::Result<Lsn> {
    let goal: String = sqlx::query_scalar("select pg_current_wal_flush_lsn()::text")
        .fetch_one(&mut fork.session().await?)
        .await?;
    let goal: Lsn = goal.parse()?;
    let segment = world.segment_bytes;
    let mut at = Lsn::from_bytes(began_at.bytes() - began_at.bytes() % segment);
    while at < goal {
        let end = Lsn::from_bytes(at.bytes() - at.bytes() % segment + segment);
        let (put, get) = world.receiver.sign(&world.prefix.chunk(run, at)).await?;
        let push = WalPush {
            participant: fork.spec.participant,
            generation: fork.spec.generation,
            timeline: world.prefix.timeline,
            system_identifier: world.prefix.system_identifier,
            run,
            seam: None,
            chunks: vec![Place {
                start: at,
                end,
                put,
                get,
            }],
            segments: Vec::new(),
            safe_lsn: Lsn::default(),
            answer_within_ms: 30_000,
        };
        let (client, address) = (&fork.server.client, fork.server.address);
        let pushed = client.push_wal(address, &push, RequestId::new()).await?;
        match pushed.chunks.first() {
            Some(Placed::Stored { end, .. } | Placed::Adopted { end }) => at = *end,
            other => anyhow::bail!("{other:?} at {at}"),
        }
    }
    Ok(at)
}

async fn restored(world: &World, fork: &Fork) -> anyhow::Result<Restored> {
    let status = fork.finish(world).await?;
    let stage = status.restore.context("it was restored")?.stage;
    let RestoreStage::Finished(restored) = stage else {
        anyhow::bail!("{stage:?}");
    };
    Ok(restored)
}

/// Writes rows that a run can be told by.
async fn mark(fork: &Fork, run: i32) -> anyhow::Result<()> {
    let mut session = fork.session().await?;
    session
        .execute("create table if not exists marks (run int, body text)")
        .await?;
    sqlx::query(
        "insert into marks select $1, (select string_agg(md5(id::text || part::text), '')
            from generate_series(1, 32) as part) from generate_series(1, 3000) as id",
    )
    .bind(run)
    .execute(&mut session)
    .await?;
    Ok(())
}

async fn marks(fork: &Fork) -> anyhow::Result<Vec<i32>> {
    let marks = sqlx::query_scalar("select distinct run from marks order by run");
    Ok(marks.fetch_all(&mut fork.session().await?).await?)
}

#[tokio::test]
async fn a_history_of_three_promotions_is_restored_to_any_of_its_parts() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(2 * MIB).await?;
    let first_rows = world.rows();
    // In the middle of a record, which the cut then is not behind.
    let inside = Lsn::from_bytes(world.flush_lsn().await?.bytes() + 100_000);
    world.write(3 * MIB).await?;
    let end = world.push_all(start).await?;
    ensure!(inside < end);

    let mut source = source(&world, &manifest, inside, Target::End);
    let mut legs: Vec<Leg> = Vec::new();
    let mut forks: Vec<Fork> = Vec::new();
    for epoch in 2..=4 {
        let fork = Fork::begin(&world, &source).await?;
        let left = restored(&world, &fork).await?;
        let run = Run {
            epoch,
            tli: left.tli,
        };
        mark(&fork, i32::try_from(epoch)?).await?;
        let end = push(&world, &fork, run, left.began_at).await?;
        // What the archive has of the old run beyond is of another history.
        let last = source.path.last_mut().context("a leg")?;
        assert!(left.began_at <= last.end, "{left:?} {last:?}");
        last.end = left.began_at;
        source.path.push(Leg {
            timeline: manifest.timeline,
            run,
            end,
        });
        legs.clone_from(&source.path);
        forks.push(fork);
    }
    let all = Fork::begin(&world, &source).await?;
    let left = restored(&world, &all).await?;
    assert_eq!((left.tli, left.parent_tli), (5, 4));
    assert_eq!(marks(&all).await?, [2, 3, 4]);
    assert!(all.rows().await? >= first_rows && all.rows().await? < world.rows());
    let history = all.server.data_directory().join("pg_wal/00000005.history");
    let history = std::fs::read_to_string(history)?;
    let tlis: Vec<&str> = history
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(
        tlis.iter().filter(|tli| !tli.is_empty()).count(),
        4,
        "{history}"
    );

    // To the second part, from which the others went on.
    source.path = legs.into_iter().take(2).collect();
    let second = Fork::begin(&world, &source).await?;
    let left = restored(&world, &second).await?;
    assert_eq!((left.tli, left.parent_tli), (3, 2));
    assert_eq!(Some(left.began_at), source.path.last().map(|leg| leg.end));
    assert_eq!(marks(&second).await?, [2]);
    Ok(())
}
