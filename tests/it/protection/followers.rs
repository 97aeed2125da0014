//! Followers of a database, and what becomes of them, by real workers.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use shared::archive::plan::Target;
use shared::clock::{Clock as _, SystemClock};
use shared::db::archive::{current_epoch, keep_wal_from, release_restores};
use shared::db::observations;
use shared::db::resources::destroy::DestroyError;
use shared::db::resources::fork;
use shared::domain::{Observation, ParticipantState, ResourceState};
use shared::ids::ResourceId;
use shared::process::{RunningProcess, Signal};
use shared::units::Lsn;
use sqlx::{Executor as _, PgConnection};
use tests::world::{PATIENCE, write};
use tokio::time::{Instant, sleep};

use super::backups::until_first_backup;
use super::forks::{add, capture, copy, numbers, timeline_of, until_backed_up, until_succeeded};
use super::world::Protected;

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// A follower that can be read, and a connection to it.
pub(super) async fn follow(
    protected: &Protected,
    name: &str,
) -> anyhow::Result<(ResourceId, PgConnection)> {
    let id = protected.world.follow(protected.id, name).await?;
    protected.world.until(id, ResourceState::Available).await?;
    Ok((id, protected.world.connect(id).await?))
}

/// Waits until a follower has all of `expected`.
pub(super) async fn until_numbers(
    protected: &Protected,
    follower: ResourceId,
    expected: &[i32],
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        // A follower that is restarted meanwhile ends sessions.
        let found = match protected.world.connect(follower).await {
            Ok(mut reader) => numbers(&mut reader).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        if found == expected {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let story = protected.world.story(follower).await?;
            anyhow::bail!("it has {found:?} and not {expected:?}: {story}");
        }
        sleep(LOOK).await;
    }
}

/// Waits until the newest look at a follower is as wished.
pub(super) async fn until_seen(
    protected: &Protected,
    follower: ResourceId,
    wished: impl Fn(&Observation) -> bool,
) -> anyhow::Result<Observation> {
    let begun = Instant::now();
    loop {
        let seen = observations::newest(&protected.world.database.pool, follower).await?;
        if let Some(seen) = seen.as_ref().filter(|seen| wished(seen)) {
            return Ok(seen.clone());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "it was seen as {seen:#?}");
        sleep(LOOK).await;
    }
}

fn code(error: &anyhow::Error) -> Option<String> {
    let error = error.downcast_ref::<sqlx::Error>()?;
    Some(error.as_database_error()?.code()?.into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_has_what_its_leader_writes_and_cannot_be_written_to() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let (world, pool) = (&protected.world, &protected.world.database.pool);
    let mut customer = world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let (follower, mut reader) = follow(&protected, "reports").await?;
    add(&mut customer, 2).await?;
    until_numbers(&protected, follower, &[1, 2]).await?;
    let refused = add(&mut reader, 3).await.unwrap_err();
    // read_only_sql_transaction
    assert_eq!(code(&refused).as_deref(), Some("25006"), "{refused:?}");
    let seen = until_seen(&protected, follower, |seen| {
        seen.replay.is_some_and(|replay| replay.streaming)
    })
    .await?;
    let last: Option<DateTime<Utc>> = seen.replay.and_then(|replay| replay.last_commit_at);
    assert!(last.is_some() && seen.wal_lsn.is_some(), "{seen:?}");
    let leader = until_seen(&protected, protected.id, |seen| seen.available).await?;
    assert_eq!(leader.replay, None);

    // It is on the timeline of its leader, under another role, and nothing of it is pushed.
    assert_eq!(timeline_of(&protected, follower).await?, protected.timeline);
    let pushed: i64 = sqlx::query_scalar("select count(*) from jobs where kind = 'wal_push'")
        .fetch_one(pool)
        .await?;
    assert_eq!(pushed, 1);

    // Nobody takes its leader away from it.
    let refused = world.destroy(protected.id).await.unwrap_err();
    let refused = refused.downcast_ref::<DestroyError>();
    assert!(
        matches!(refused, Some(DestroyError::HasFollowers(names)) if names == &["reports"]),
        "{refused:?}"
    );
    drop(reader);
    world.destroy(follower).await?;
    world.until(follower, ResourceState::Deprovisioned).await?;
    add(&mut customer, 3).await?;
    world.destroy(protected.id).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_becomes_a_database_of_its_own() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let (world, pool) = (&protected.world, &protected.world.database.pool);
    let mut customer = world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let (follower, reader) = follow(&protected, "reports").await?;
    // More than the restore that it began with.
    write(&mut customer, 20).await?;
    add(&mut customer, 2).await?;
    until_numbers(&protected, follower, &[1, 2]).await?;
    let url = world.url(follower).await?;
    drop(reader);

    let operation = world.unfollow(follower).await?;
    until_succeeded(&protected, operation).await?;
    let mut owner = world.connect(follower).await?;
    add(&mut owner, 3).await?;
    add(&mut customer, 4).await?;
    assert_eq!(numbers(&mut owner).await?, [1, 2, 3]);
    assert_eq!(numbers(&mut customer).await?, [1, 2, 4]);
    assert_eq!(world.url(follower).await?.expose(), url.expose());

    // Its history begins where it left that of its original.
    let timeline = timeline_of(&protected, follower).await?;
    assert_ne!(timeline, protected.timeline);
    let epoch = current_epoch(pool, timeline)
        .await?
        .context("it is archived")?;
    let parent = epoch.record.parent.context("it comes from another one")?;
    assert_eq!((parent.timeline, parent.epoch), (protected.timeline, 1));
    assert_eq!(epoch.record.tli, 2);
    let told = fork::fork_of(pool, follower)
        .await?
        .context("it was a follower")?;
    assert!(told.follows && !told.is_following(), "{told:?}");
    assert_eq!(told.branch_lsn, Some(parent.cut));
    assert_eq!(fork::followers_of(pool, protected.id).await?, [""; 0]);
    let jobs: i64 = sqlx::query_scalar("select count(*) from jobs where kind = 'catch_up'")
        .fetch_one(pool)
        .await?;
    assert_eq!(jobs, 0);

    // It is protected as any other: also without its original.
    until_backed_up(&protected, follower).await?;
    drop(customer);
    world.destroy(protected.id).await?;
    world
        .until(protected.id, ResourceState::Deprovisioned)
        .await?;
    let (_, mut staging) = copy(&protected, (follower, "staging"), Target::End).await?;
    assert_eq!(numbers(&mut staging).await?, [1, 2, 3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_made_while_its_leader_restarts_and_its_worker_dies() -> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let follower = protected.world.follow(protected.id, "reports").await?;
    let row = protected
        .world
        .until_row(follower, "attached", |row| row.base.is_some())
        .await?;
    let leader = protected.world.row(protected.id).await?;
    let leader = leader.base.context("it is placed")?.server;
    protected.world.postmaster(leader)?.signal(Signal::KILL)?;
    protected.world.kill_worker(0).await?;
    protected.start_worker().await?;
    protected
        .world
        .until(follower, ResourceState::Available)
        .await?;
    protected
        .world
        .until(protected.id, ResourceState::Available)
        .await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 2).await?;
    until_numbers(&protected, follower, &[1, 2]).await?;
    let server = row.base.context("it is placed")?.server;

    // One that was away has what it missed, from wherever that still is.
    protected.world.agent(server)?.signal(Signal::KILL)?;
    for number in 3..7 {
        add(&mut customer, number).await?;
        write(&mut customer, 20).await?;
    }
    protected.until_archived(&mut customer).await?;
    until_numbers(&protected, follower, &[1, 2, 3, 4, 5, 6]).await?;
    let row = protected.world.row(follower).await?;
    let base = row.base.context("it is placed")?;
    assert_eq!(base.server, server);
    assert_ne!(base.participant_state, ParticipantState::Removed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_cannot_go_on_is_made_anew() -> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let (world, pool) = (&protected.world, &protected.world.database.pool);
    let mut customer = world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let (follower, reader) = follow(&protected, "reports").await?;
    until_numbers(&protected, follower, &[1]).await?;
    drop(reader);
    let before = world.row(follower).await?.base.context("it is placed")?;

    // It stands still and is cut off, while what it needs next leaves the archive.
    let mut operator = world.connect_as_operator(follower).await?;
    operator.execute("select pg_wal_replay_pause()").await?;
    write(&mut customer, 5).await?;
    add(&mut customer, 2).await?;
    capture(&protected, protected.id).await?;
    let kept_from = "select max(start_lsn) from backups where state = 'finished'";
    let kept_from: i64 = sqlx::query_scalar(kept_from).fetch_one(pool).await?;
    let kept_from = Lsn::from_bytes(kept_from.unsigned_abs());
    release_restores(pool, SystemClock.now()).await?;
    let let_go = keep_wal_from(pool, (protected.timeline, 1), kept_from).await?;
    assert!(!let_go.is_overtaken());
    // As long as it stands still, nobody begins to stream again.
    let receiver: i32 = sqlx::query_scalar("select pid from pg_stat_wal_receiver")
        .fetch_one(&mut operator)
        .await?;
    RunningProcess::open(receiver.unsigned_abs())?.signal(Signal::TERM)?;

    let row = world
        .until_row(follower, "on another participant", |row| {
            let base = row.base.as_ref();
            base.is_some_and(|base| base.participant != before.participant)
        })
        .await?;
    assert_eq!(row.state, ResourceState::Available);
    until_numbers(&protected, follower, &[1, 2]).await?;
    world
        .until_row(follower, "pointed at it", |row| {
            let upstream = row.base.as_ref().and_then(|base| base.postgres.as_ref());
            upstream.map(ToString::to_string) == row.endpoint_upstream
        })
        .await?;
    // Nothing is left of the other one, and nobody waits for anything.
    let begun = Instant::now();
    loop {
        let left: i64 = sqlx::query_scalar(
            "select (select count(*) from participants where id = $1 and state <> 'removed')
                + (select count(*) from jobs where kind = 'catch_up')
                + (select count(*) from forks where replacement_id is not null)",
        )
        .bind(before.participant)
        .fetch_one(pool)
        .await?;
        if left == 0 {
            break;
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{left} things are left");
        sleep(LOOK).await;
    }
    let made: i64 = sqlx::query_scalar("select count(*) from participants where role = 'follower'")
        .fetch_one(pool)
        .await?;
    assert_eq!(made, 2, "one was enough");
    Ok(())
}
