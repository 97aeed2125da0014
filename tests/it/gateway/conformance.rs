//! The gateway is an endpoint as any other.

use shared::domain::ResourceState;

use super::world::{Led, endpoint};
use crate::conformance::endpoint::{hears_words_in_order, refuses_late_words};

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_keeps_the_contract_of_endpoints_that_hold_routes() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    let mut others = Vec::new();
    for name in ["one", "two", "three"] {
        let id = led.world.create(name, "hobby").await?;
        led.world.until(id, ResourceState::Available).await?;
        others.push(id);
    }
    // Words of the worker have lower numbers than those of the test from here on.
    led.world.kill_worker(0).await?;
    sqlx::query("delete from routes where resource_id = any($1)")
        .bind(&others)
        .execute(&led.world.database.pool)
        .await?;
    let endpoint = endpoint(&led.world);
    hears_words_in_order(&endpoint, [others[0], others[1]]).await?;
    refuses_late_words(&endpoint, others[2]).await?;
    Ok(())
}
