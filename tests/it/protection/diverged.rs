//! Followers that have another history than their leader.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use shared::domain::ResourceState;
use shared::ids::{ParticipantId, ResourceId, ServerId};
use shared::process::Signal;
use shared::units::Lsn;
use sqlx::PgConnection;
use tests::world::{PATIENCE, write};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::followers::{follow, until_numbers};
use super::forks::add;
use super::world::{Protected, flushed};

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// Ends agent and PostgreSQL of a server, as if its power was cut.
async fn cut_power(protected: &Protected, server: ServerId) -> anyhow::Result<()> {
    let agent = protected.world.agent(server)?;
    agent.signal(Signal::KILL)?;
    agent.ended().await?;
    if let Ok(postmaster) = protected.world.postmaster(server) {
        postmaster.signal(Signal::QUIT)?;
        postmaster.ended().await?;
    }
    Ok(())
}

async fn run(program: &str, arguments: &[&Path]) -> anyhow::Result<()> {
    let status = Command::new(program)
        .arg("-a")
        .args(arguments)
        .status()
        .await?;
    anyhow::ensure!(status.success(), "{program}: {status}");
    Ok(())
}

async fn participant(protected: &Protected, id: ResourceId) -> anyhow::Result<ParticipantId> {
    let row = protected.world.row(id).await?;
    Ok(row.base.context("it is placed")?.participant)
}

async fn until_replayed(reader: &mut PgConnection, position: Lsn) -> anyhow::Result<()> {
    let begun = Instant::now();
    let query = "select pg_last_wal_replay_lsn() >= $1::pg_lsn";
    loop {
        let query = sqlx::query_scalar::<_, bool>(query).bind(position.to_string());
        if query.fetch_one(&mut *reader).await? {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{position} is not replayed");
        sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_ahead_of_its_leader_is_made_anew() -> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let (follower, reader) = follow(&protected, "reports").await?;
    until_numbers(&protected, follower, &[1]).await?;
    protected.until_archived(&mut customer).await?;
    drop((customer, reader));
    let before = participant(&protected, follower).await?;
    let leader = protected.world.row(protected.id).await?.base;
    let leader = leader.context("it is placed")?.server;

    // The disk of the leader is kept as it is; what comes now reaches the follower, but no archive.
    protected.world.kill_worker(0).await?;
    protected.server.stop().await?;
    cut_power(&protected, leader).await?;
    let data = protected.world.data_directory(leader);
    let older = data.with_extension("older");
    run("cp", &[&data, &older]).await?;
    let worker = protected.start_worker().await?;
    protected
        .world
        .until(protected.id, ResourceState::Available)
        .await?;
    let mut customer = until_connected(&protected).await?;
    add(&mut customer, 2).await?;
    write(&mut customer, 2).await?;
    let lost = flushed(&mut customer).await?;
    let mut reader = protected.world.connect(follower).await?;
    until_replayed(&mut reader, lost).await?;
    drop((customer, reader));

    protected.world.kill_worker(worker).await?;
    cut_power(&protected, leader).await?;
    tokio::fs::remove_dir_all(&data).await?;
    tokio::fs::rename(&older, &data).await?;
    protected.server.start_again().await?;
    protected.start_worker().await?;

    let row = protected
        .world
        .until_row(follower, "on another participant", |row| {
            let base = row.base.as_ref();
            base.is_some_and(|base| base.participant != before)
        })
        .await?;
    assert_eq!(row.state, ResourceState::Available);
    let mut customer = until_connected(&protected).await?;
    add(&mut customer, 3).await?;
    until_numbers(&protected, follower, &[1, 3]).await
}

/// A connection to the leader once it is open again.
async fn until_connected(protected: &Protected) -> anyhow::Result<PgConnection> {
    let begun = Instant::now();
    loop {
        match protected.world.connect(protected.id).await {
            Ok(customer) => return Ok(customer),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => sleep(LOOK).await,
        }
    }
}
