//! Many databases on one server.

use std::collections::HashSet;

use futures::future::join_all;
use shared::domain::Outage;
use tokio::time::Instant;
use workers::observe::{FeelConfig, Prober, Target};

use super::world::{Doorman, GENEROUS_MS, World, feel, prober};

/// Databases `d0`, `d1`, … of a shared server.
async fn shared_targets(world: &World, count: usize) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for n in 0..count {
        let name = format!("d{n}");
        world.create(&name).await?;
        targets.push(Target {
            shared: true,
            ..world.target(&name)
        });
    }
    Ok(targets)
}

#[tokio::test]
async fn databases_of_one_server_share_one_connection() -> anyhow::Result<()> {
    let world = World::start().await?;
    let targets = shared_targets(&world, 20).await?;
    let customer = world.customer("d3").await?;
    customer
        .run("create table one (id int); create table two (id int)")
        .await?;
    let prober = prober(GENEROUS_MS);
    let seen = join_all(targets.iter().map(|target| feel(&prober, target))).await;
    for (n, seen) in seen.iter().enumerate() {
        assert!(seen.available, "d{n}: {seen:?}");
        let tables = seen.tables.expect("each was surveyed");
        assert_eq!(tables.count, if n == 3 { 2 } else { 0 }, "d{n}");
        assert!(
            seen.database_size_bytes
                .is_some_and(|bytes| bytes > 1_000_000),
            "d{n}"
        );
        let open = seen.connections.map(|connections| connections.open);
        assert_eq!(open, Some(u32::from(n == 3)), "d{n}");
    }
    assert_eq!(world.feelers().await?.len(), 1);
    assert_eq!(prober.kept_connections(), 1);
    Ok(())
}

#[tokio::test]
async fn between_two_surveys_no_connection_is_opened() -> anyhow::Result<()> {
    let world = World::start().await?;
    let doorman = Doorman::before(world.server.port()).await?;
    let mut targets = shared_targets(&world, 5).await?;
    for target in &mut targets {
        target.port = doorman.port;
    }
    let prober = Prober::new(FeelConfig {
        feel_deadline_ms: GENEROUS_MS,
        ..FeelConfig::default()
    });
    let mut counted = HashSet::new();
    for _ in 0..20 {
        for target in &targets {
            let seen = feel(&prober, target).await;
            assert!(seen.available, "{seen:?}");
            counted.insert(seen.tables.map(|tables| tables.counted_at));
            assert!(
                seen.database_size_bytes.is_some(),
                "the last survey is shown on"
            );
        }
    }
    assert_eq!(counted.len(), 5, "each was surveyed once");
    assert_eq!(
        doorman.entered(),
        1 + 5,
        "one is kept, and each survey had its own"
    );
    Ok(())
}

#[tokio::test]
async fn a_dropped_database_is_broken_and_its_neighbours_are_not() -> anyhow::Result<()> {
    let world = World::start().await?;
    let targets = shared_targets(&world, 4).await?;
    let prober = prober(GENEROUS_MS);
    for target in &targets {
        assert!(feel(&prober, target).await.available);
    }
    let admin = world.admin("postgres").await?;
    admin.run("drop database d1").await?;
    admin
        .run("alter database d2 allow_connections false")
        .await?;
    admin.run("drop database d3").await?;
    admin.run("drop role d3").await?;
    let outages = join_all(targets.iter().map(|target| feel(&prober, target))).await;
    let outages: Vec<_> = outages.iter().map(|seen| seen.outage).collect();
    let broken = Some(Outage::Broken);
    assert_eq!(outages, [None, broken, broken, broken]);
    assert_eq!(prober.kept_connections(), 1);
    Ok(())
}

#[tokio::test]
async fn neighbours_on_a_wedged_server_wait_together_not_one_after_the_other() -> anyhow::Result<()>
{
    let world = World::start().await?;
    let targets = shared_targets(&world, 40).await?;
    let frozen = world.freeze(&world.processes()?)?;
    let prober = prober(1_000);
    let started = Instant::now();
    let seen = join_all(targets.iter().map(|target| feel(&prober, target))).await;
    let took = started.elapsed();
    drop(frozen);
    assert!(
        seen.iter()
            .all(|seen| seen.outage == Some(Outage::TimedOut))
    );
    assert!(
        took.as_secs() < 20,
        "40 times a second was waited: {took:?}"
    );
    Ok(())
}

#[tokio::test]
async fn fifty_servers_worth_of_looks_at_once_are_all_answered() -> anyhow::Result<()> {
    let world = World::start().await?;
    let targets = shared_targets(&world, 50).await?;
    let prober = Prober::new(FeelConfig {
        feel_deadline_ms: GENEROUS_MS,
        feel_connecting_max: 4,
        ..FeelConfig::default()
    });
    // Each as if it had a server of its own: fifty connections, four at a time.
    let apart = targets.iter().map(|target| Target {
        shared: false,
        participant: shared::ids::ParticipantId::new(),
        ..target.clone()
    });
    let apart: Vec<Target> = apart.collect();
    let seen = join_all(apart.iter().map(|target| feel(&prober, target))).await;
    assert!(seen.iter().all(|seen| seen.available), "{seen:?}");
    assert_eq!(prober.kept_connections(), 50);
    assert_eq!(world.feelers().await?.len(), 50);
    Ok(())
}
