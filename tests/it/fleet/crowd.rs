//! Many at once.

use shared::domain::{ResourceState, ServerState};
use tests::world::World;

/// Customers who come at the same moment: 190 hobby and 10 standard.
const HOBBY: usize = 190;
const STANDARD: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_resources_are_made_at_once_and_removed_at_once() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut ids = Vec::new();
    for number in 0..HOBBY + STANDARD {
        let plan = if number % 20 == 0 {
            "standard"
        } else {
            "hobby"
        };
        ids.push(world.create(&format!("customer-{number}"), plan).await?);
    }
    for id in &ids {
        world.until(*id, ResourceState::Available).await?;
    }
    let shared_servers: i64 =
        sqlx::query_scalar("select count(*) from servers where plan = 'hobby'")
            .fetch_one(&world.database.pool)
            .await?;
    assert_eq!(shared_servers, 5, "190 databases, 40 to a server");

    for id in &ids {
        world.destroy(*id).await?;
    }
    for id in &ids {
        world.until(*id, ResourceState::Deprovisioned).await?;
    }
    let own_servers = "select count(*) from servers where plan = 'standard' and state <> $1";
    let begun = tokio::time::Instant::now();
    loop {
        let left: i64 = sqlx::query_scalar(own_servers)
            .bind(ServerState::Terminated.as_str())
            .fetch_one(&world.database.pool)
            .await?;
        if left == 0 {
            break;
        }
        anyhow::ensure!(
            begun.elapsed() < tests::world::PATIENCE,
            "{left} servers are left"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let kept: i64 = sqlx::query_scalar(
        "select count(*) from resources where password is not null or participant_id is not null",
    )
    .fetch_one(&world.database.pool)
    .await?;
    assert_eq!(kept, 0, "no secret and no attachment is kept");
    Ok(())
}
