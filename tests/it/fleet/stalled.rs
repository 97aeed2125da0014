//! A worker that sleeps longer than its leases and wakes up: what it still wants to do is refused.

use shared::domain::ResourceState;
use shared::process::Signal;
use tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_worker_does_no_harm_when_it_goes_on() -> anyhow::Result<()> {
    let mut world = World::without_workers().await?;
    world
        .start_worker(&[("RINGMASTER_LEASE_MS", "2000")])
        .await?;
    let first = world.create("first", "standard").await?;
    world.until_event(first, "launch_asked", 1).await?;
    world.worker(0).signal(Signal::STOP)?;
    world
        .start_worker(&[("RINGMASTER_LEASE_MS", "2000")])
        .await?;
    world.until(first, ResourceState::Available).await?;
    let before = world.row(first).await?;

    world.worker(0).signal(Signal::CONT)?;
    let second = world.create("second", "standard").await?;
    world.until(second, ResourceState::Available).await?;
    let after = world.row(first).await?;
    assert_eq!(after.state, ResourceState::Available);
    assert_eq!(
        after.base.map(|base| base.participant),
        before.base.map(|base| base.participant),
        "the late worker placed nothing a second time"
    );
    let leaders: i64 =
        sqlx::query_scalar("select count(*) from participants where state <> 'removed'")
            .fetch_one(&world.database.pool)
            .await?;
    assert_eq!(leaders, 2, "one for each of the two resources");
    Ok(())
}
