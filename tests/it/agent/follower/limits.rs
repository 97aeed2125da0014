//! Limits of a follower that are lower than the leader's.

use super::driver::Fleet;
use crate::agent::archiving::MIB;
use crate::agent::restore::driver::Fork;
use shared::agent_api::InstanceRole;

fn allow(spec: &mut shared::agent_api::InstanceSpec, connections: &str) {
    let name = "max_connections".to_owned();
    spec.settings.insert(name, connections.to_owned());
}

#[tokio::test]
async fn a_follower_with_lower_limits_says_so_and_starts_with_higher_ones() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let server = fleet.world.server.start_beside(true).await?;
    let mut follower = Fork::on(&fleet.world, &fleet.source, server, |spec| {
        spec.role = InstanceRole::Follower;
        allow(spec, "20");
    })
    .await?;
    let says = "lower than the leader's: max_connections = 20";
    follower
        .drive(&fleet.world, "refused", |status, _| {
            let error = status.last_error.as_ref();
            error.is_some_and(|error| error.contains(says))
        })
        .await?;
    follower.spec.generation = 2;
    allow(&mut follower.spec, "30");
    follower.server.instruct(&follower.spec).await?;
    fleet.until_replayed(&follower, fleet.watermark).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    Ok(())
}

#[tokio::test]
async fn a_follower_whose_leader_got_higher_limits_pauses_and_says_why() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let mut follower = fleet.stream(true).await?;
    allow(&mut fleet.world.spec, "40");
    fleet.world.spec.generation += 1;
    fleet.world.server.converge(&fleet.world.spec).await?;
    fleet.world.write(MIB).await?;
    let status = follower
        .drive(&fleet.world, "paused", |status, _| {
            status
                .standby()
                .is_some_and(|standby| standby.paused.is_some())
        })
        .await?;
    let paused = status.standby().and_then(|standby| standby.paused.clone());
    let paused = paused.expect("it is paused");
    assert!(paused.contains("max_connections = 30"), "{paused}");
    follower.spec.generation += 1;
    allow(&mut follower.spec, "40");
    follower.server.instruct(&follower.spec).await?;
    fleet.until_streaming(&follower).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    Ok(())
}
