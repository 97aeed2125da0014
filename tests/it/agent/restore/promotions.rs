//! Restores over several promotions.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use shared::agent_api::restore::{Leg, RestoreSource, RestoreStage, Restored, Target};
use shared::agent_api::wal::{Place, Placed, WalPush};
use shared::archive::chain::segment_start;
use shared::archive::layout::Run;
use shared::archive::manifest::Manifest;
use shared::archive::plan::{Known, Taken, Written, plan};
use shared::ids::RequestId;
use shared::units::Lsn;
use sqlx::{Executor as _, PgConnection};

use super::driver::{Fork, now, source};
use crate::agent::archiving::{RUN, World};
use crate::agent::backup::driver::back_up;

/// Pushes all WAL of a fork from the start of the segment that it began in, as an epoch of the same
/// timeline. Gives up to where.
pub(in crate::agent) async fn push(
    world: &World,
    fork: &Fork,
    run: Run,
    began_at: Lsn,
) -> anyhow::Result<Lsn> {
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

/// Bytes of a page of WAL.
const PAGE: u64 = 8192;

/// What a run marks itself with later.
const LATER: i32 = 100;

/// A moment of a run right after it marked itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marked {
    lsn: Lsn,
    at: DateTime<Utc>,
}

/// Commits a row that a run can be told by.
async fn mark(session: &mut PgConnection, run: i32) -> anyhow::Result<Marked> {
    session
        .execute("create table if not exists marks (run int)")
        .await?;
    sqlx::query("insert into marks values ($1)")
        .bind(run)
        .execute(&mut *session)
        .await?;
    let query = "select pg_current_wal_insert_lsn()::text, clock_timestamp()";
    let (lsn, at): (String, _) = sqlx::query_as(query).fetch_one(session).await?;
    Ok(Marked {
        lsn: lsn.parse()?,
        at,
    })
}

async fn marks(fork: &Fork) -> anyhow::Result<Vec<i32>> {
    let marks = sqlx::query_scalar("select distinct run from marks order by run");
    Ok(marks.fetch_all(&mut fork.session().await?).await?)
}

/// Writes a record that spans a dozen pages. Gives a position in the middle of it.
async fn straddle(session: &mut PgConnection) -> anyhow::Result<Lsn> {
    let query = "select pg_current_wal_insert_lsn()::text";
    let begin: String = sqlx::query_scalar(query).fetch_one(&mut *session).await?;
    let begin: Lsn = begin.parse()?;
    session
        .execute("select pg_logical_emit_message(false, 'long', repeat('x', 100000))")
        .await?;
    Ok(Lsn::from_bytes(begin.bytes() + 50_000))
}

/// What a run wrote: a mark and a later one, a long record that the next run leaves it in, and a mark
/// past that.
async fn live(session: &mut PgConnection, run: i32) -> anyhow::Result<(Marked, Lsn)> {
    let marked = mark(session, run).await?;
    mark(session, LATER + run).await?;
    let inside = straddle(session).await?;
    mark(session, -run).await?;
    Ok((marked, inside))
}

/// The only backup, as a worker knows it.
fn taken(manifest: &Manifest) -> Taken {
    Taken {
        backup: manifest.backup,
        timeline: manifest.timeline,
        run: manifest.run,
        start_lsn: manifest.start_lsn,
        stop_lsn: manifest.stop_lsn,
        stopped_at: manifest.stopped_at,
        is_damaged: false,
    }
}

/// Three promotions, each in the middle of a long record of the run before, whose archive goes on past
/// that: all epochs, and the moment that each of them marked.
pub(super) async fn promoted_thrice(
    world: &World,
    manifest: &Manifest,
    start: Lsn,
) -> anyhow::Result<(Vec<Written>, Vec<Marked>)> {
    let timeline = manifest.timeline;
    let (first, mut inside) = live(&mut world.session().await?, 1).await?;
    let watermark = world.push_all(start).await?;
    assert!(inside < watermark);
    let mut epochs = vec![Written {
        timeline,
        run: RUN,
        start,
        watermark,
        gaps: Vec::new(),
        parent: None,
    }];
    let mut marked = vec![first];
    let mut source = source(world, manifest, inside, Target::End);
    for epoch in 2..=4 {
        let fork = Fork::begin(world, &source).await?;
        let left = restored(world, &fork).await?;
        let (cut, tli) = (left.began_at, left.tli);
        assert!(
            cut.bytes() + 2 * PAGE < inside.bytes(),
            "a record that spans pages is left out: {left:?} {inside}"
        );
        let run = Run { epoch, tli };
        let written = live(&mut fork.session().await?, i32::try_from(epoch)?).await?;
        let watermark = push(world, &fork, run, cut).await?;
        (_, inside) = written;
        assert!(inside < watermark);
        marked.push(written.0);
        source.path.last_mut().context("a leg")?.end = cut;
        source.path.push(Leg {
            timeline,
            run,
            end: inside,
        });
        epochs.push(Written {
            timeline,
            run,
            start: segment_start(cut, u32::try_from(world.segment_bytes)?),
            watermark,
            gaps: Vec::new(),
            parent: Some((timeline, epoch - 1, cut)),
        });
    }
    Ok((epochs, marked))
}

#[tokio::test]
async fn a_history_of_three_promotions_is_restored_to_a_moment_of_each_part() -> anyhow::Result<()>
{
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let (_, manifest) = back_up(&world).await?;
    let (epochs, marked) = promoted_thrice(&world, &manifest, start).await?;
    let known = Known {
        epochs: &epochs,
        tip: (manifest.timeline, 4),
        backups: &[taken(&manifest)],
        complete_until: now(&world).await?,
    };
    for (epoch, marked) in epochs.iter().zip(marked) {
        let number = i32::try_from(epoch.run.epoch)?;
        let target = match number % 2 {
            0 => Target::Lsn { lsn: marked.lsn },
            _ => Target::Time { at: marked.at },
        };
        let planned = plan(&known, target)?;
        let source = RestoreSource {
            path: planned.path,
            complete_until: planned.complete_until,
            ..source(&world, &manifest, epoch.watermark, target)
        };
        let fork = Fork::begin(&world, &source).await?;
        let left = restored(&world, &fork).await?;
        assert_eq!(left.parent_tli, epoch.run.tli, "{target} {left:?}");
        let later = (1..number).map(|run| LATER + run);
        let runs: Vec<i32> = (1..=number).chain(later).collect();
        assert_eq!(marks(&fork).await?, runs, "{target}");
    }

    // The end, and with it the whole line.
    let planned = plan(&known, Target::End)?;
    let source = RestoreSource {
        path: planned.path,
        ..source(&world, &manifest, start, Target::End)
    };
    let all = Fork::begin(&world, &source).await?;
    let left = restored(&world, &all).await?;
    assert_eq!((left.tli, left.parent_tli), (5, 4));
    assert_eq!(marks(&all).await?, [-4, 1, 2, 3, 4, 101, 102, 103, 104]);
    assert_eq!(all.tlis_before(5)?, ["1", "2", "3", "4"]);
    Ok(())
}
