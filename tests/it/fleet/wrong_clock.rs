//! Workers on machines whose clocks are wrong: what they store is right all the same.

use chrono::{DateTime, TimeDelta, Utc};
use shared::clock::{Clock as _, SystemClock};
use shared::domain::ResourceState;
use tests::offset_clock;
use tests::world::World;

/// What workers whose clocks are put right may still be off by.
const EXACT: TimeDelta = TimeDelta::seconds(2);

#[tokio::test(flavor = "multi_thread")]
async fn workers_with_wrong_clocks_store_the_right_time() -> anyhow::Result<()> {
    let begun = SystemClock.now();
    let mut world = World::without_workers().await?;
    let fast = world
        .start_worker(&[(offset_clock::VARIABLE, "300")])
        .await?;
    let id = world.create("shop", "standard").await?;
    world.until(id, ResourceState::Available).await?;

    // What the first one stored, the second one compares with: ten minutes lie between the two.
    world
        .start_worker(&[(offset_clock::VARIABLE, "-300")])
        .await?;
    world.kill_worker(fast).await?;
    let server = world.row(id).await?.base.expect("it is attached").server;
    world
        .postmaster(server)?
        .signal(shared::process::Signal::KILL)?;
    world.until_event(id, "restart_seen", 1).await?;
    world.destroy(id).await?;
    world.until(id, ResourceState::Deprovisioned).await?;

    let times: Vec<DateTime<Utc>> = sqlx::query_scalar("select at from transitions")
        .fetch_all(&world.database.pool)
        .await?;
    let wrong: Vec<_> = times
        .iter()
        .filter(|at| **at < begun - EXACT || **at > SystemClock.now() + EXACT)
        .collect();
    assert!(
        times.len() > 10 && wrong.is_empty(),
        "{wrong:?} of {times:?}"
    );
    let alerts: Vec<String> = sqlx::query_scalar("select name from alerts")
        .fetch_all(&world.database.pool)
        .await?;
    assert_eq!(alerts, Vec::<String>::new(), "nothing was overdue");
    Ok(())
}
