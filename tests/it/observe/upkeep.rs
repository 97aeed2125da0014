//! What feeling leaves behind: nothing.

use std::time::Duration;

use super::world::{GENEROUS_MS, World, feel, prober, until};

#[tokio::test]
async fn an_idle_database_stays_idle() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let customer = world.customer("shop").await?;
    customer
        .run("create table one as select * from generate_series(1, 1000)")
        .await?;
    drop(customer);
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    let admin = world.admin("postgres").await?;
    admin.run("checkpoint").await?;
    // The first reader of changed pages, whoever it is, leaves hint bits on them.
    assert!(feel(&prober, &target).await.available);
    for _ in 0..2 {
        let position = "select pg_current_wal_insert_lsn()::text";
        let before = admin.text(position).await?;
        for _ in 0..75 {
            let seen = feel(&prober, &target).await;
            assert!(seen.available, "{seen:?}");
            assert!(seen.tables.is_some(), "{seen:?}");
        }
        assert_eq!(admin.text(position).await?, before);
        // The first change of a page after a checkpoint would cost a whole page.
        admin.run("checkpoint").await?;
    }
    let temporary = admin
        .text("select sum(temp_files + temp_bytes)::text from pg_stat_database")
        .await?;
    assert_eq!(temporary, "0");
    Ok(())
}

#[tokio::test]
async fn connections_that_are_not_used_are_closed() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    assert!(feel(&prober, &target).await.available);
    prober.close_idle(Duration::from_hours(1)).await;
    assert_eq!(prober.kept_connections(), 1);
    prober.close_idle(Duration::ZERO).await;
    assert_eq!(prober.kept_connections(), 0);
    let gone = async || Ok(world.feelers().await?.is_empty());
    until("the server knows too", gone).await?;
    assert!(feel(&prober, &target).await.available);
    prober.forget(target.participant).await;
    until("the server knows too", gone).await
}
