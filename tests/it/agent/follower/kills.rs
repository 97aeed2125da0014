//! Agents and PostgreSQL that are killed while they follow.

use shared::agent_api::InstanceStatus;

use super::driver::Fleet;
use super::promotion::kill_postgres;
use crate::agent::archiving::MIB;

fn pid(status: &InstanceStatus) -> Option<u32> {
    Some(status.postgres.as_ref()?.pid)
}

#[tokio::test]
async fn a_follower_outlives_its_agent_and_is_served_by_the_next() -> anyhow::Result<()> {
    for die_with_agent in [false, true] {
        let mut fleet = Fleet::start().await?;
        let mut follower = fleet.stream(die_with_agent).await?;
        let before = follower.server.status().await?;
        follower.server.kill_agent().await?;
        fleet.world.write(MIB).await?;
        follower.server.start_agent().await?;
        fleet.until_streaming(&follower).await?;
        assert_eq!(follower.rows().await?, fleet.world.rows());
        let after = follower.server.status().await?;
        assert_eq!(pid(&before) == pid(&after), !die_with_agent);
        // Its questions are answered by the new agent.
        fleet.let_stream(&[]).await?;
        let goal = fleet.write_and_push(2 * MIB).await?;
        fleet.until_replayed(&follower, goal).await?;
        assert_eq!(follower.rows().await?, fleet.world.rows());
    }
    Ok(())
}

#[tokio::test]
async fn a_postgres_that_is_killed_follows_again() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let follower = fleet.stream(false).await?;
    let before = follower.server.status().await?;
    kill_postgres(&follower)?;
    fleet.world.write(MIB).await?;
    follower
        .drive(&fleet.world, "started again", |status, _| {
            status.standby().is_some() && pid(status) != pid(&before)
        })
        .await?;
    fleet.until_streaming(&follower).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    assert_eq!(follower.server.status().await?.crashes, 1);
    Ok(())
}
