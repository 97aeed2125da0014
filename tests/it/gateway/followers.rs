//! Followers have a name of their own behind a gateway, and a route can be led to another server.

use shared::domain::Traffic;
use sqlx::{Executor as _, PgConnection, Row as _};

use super::world::{Led, connect, followed};

async fn is_follower(client: &mut PgConnection) -> Result<bool, sqlx::Error> {
    Ok(client.fetch_one("select pg_is_in_recovery()").await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_taken_along_to_another_server() -> anyhow::Result<()> {
    let (protected, gateway, follower) = followed().await?;
    let world = &protected.world;

    // The same owner and password, and another name.
    let mut reader = connect(&world.url(follower).await?).await?;
    assert!(is_follower(&mut reader).await?);
    let mut writer = connect(&world.url(protected.id).await?).await?;
    assert!(!is_follower(&mut writer).await?);
    assert!(world.url(follower).await?.expose().contains("/reports_"));

    let mut pooled = connect(&world.pooled_url(protected.id).await?).await?;
    assert!(!is_follower(&mut pooled).await?);
    let other = world
        .row(follower)
        .await?
        .base
        .and_then(|base| base.postgres);
    let other = other.expect("a follower has a server");
    let id = protected.id;
    let mut led = Led {
        world: protected.world,
        gateway,
        id,
        generation: 100,
    };

    // Paused before: a pooled client is not cut off.
    writer.execute("select 1").await?;
    drop(writer);
    led.say(Traffic::Paused).await?;
    led.say_to(other.clone(), Traffic::Paused).await?;
    led.say_to(other.clone(), Traffic::Open).await?;
    assert!(is_follower(&mut pooled).await?);
    let mut session = led.client().await?;
    assert!(is_follower(&mut session).await?);

    // Not paused: whoever is connected to the former server loses the connection.
    led.say(Traffic::Open).await?;
    assert!(session.execute("select 1").await.is_err());
    assert!(!is_follower(&mut led.client().await?).await?);
    Ok(())
}
