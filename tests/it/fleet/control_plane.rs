//! What breaks in the control plane heals, and no database notices.

use std::time::Duration;

use shared::domain::ResourceState;
use shared::process::Signal;
use tests::world::{PATIENCE, World};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_wake_was_lost_is_found_by_the_audit() -> anyhow::Result<()> {
    let world = World::start().await?;
    // The API died between its commit and its wake.
    let id = world.intend("shop", "hobby").await?;
    world.until(id, ResourceState::Available).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_leaves_nothing_undone() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let id = world.create("shop", "standard").await?;
    world.until_event(id, "launch_asked", 1).await?;
    world.kill_worker(0).await?;
    world.start_worker(&[]).await?;
    world.until(id, ResourceState::Available).await?;
    world.destroy(id).await?;
    world.until_event(id, "destroy_requested", 1).await?;
    world.kill_worker(1).await?;
    world.start_worker(&[]).await?;
    world.until(id, ResourceState::Deprovisioned).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_serve_while_no_worker_lives() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let id = world.create("shop", "standard").await?;
    let row = world.until(id, ResourceState::Available).await?;
    let server = row.base.expect("an available resource is attached").server;
    world.kill_worker(0).await?;
    world.connect(id).await?;
    // Not even a crash needs the control plane: the agent starts PostgreSQL again.
    world.postmaster(server)?.signal(Signal::KILL)?;
    let served = async {
        while world.connect(id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, served).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_loses_nothing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let first = world.create("first", "hobby").await?;
    world.until(first, ResourceState::Available).await?;
    let second = world.create("second", "standard").await?;
    world.redis.flush().await?;
    world.until(second, ResourceState::Available).await?;
    world.redis.flush().await?;
    // The ring turns on: a destroy that wakes nobody is found on the next lap or by the audit.
    world.destroy(first).await?;
    world.until(first, ResourceState::Deprovisioned).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_control_database_is_waited_for() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let first = world.create("first", "hobby").await?;
    world.until(first, ResourceState::Available).await?;
    world.database.server_mut().restart().await?;
    // Our own connections were cut as well: the first words over them fail and write nothing.
    let second = async {
        loop {
            match world.create("second", "hobby").await {
                Ok(id) => break id,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let second = timeout(PATIENCE, second).await?;
    world.until(second, ResourceState::Available).await?;
    world.connect(first).await?;
    Ok(())
}
