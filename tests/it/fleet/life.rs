//! From the wish to the end.

use shared::domain::ResourceState;
use sqlx::Executor as _;
use tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_database_is_made_used_and_removed() -> anyhow::Result<()> {
    let world = World::start().await?;
    let id = world.create("shop", "standard").await?;
    let row = world.until(id, ResourceState::Available).await?;
    let mut customer = world.connect(id).await?;
    customer
        .execute("create table orders (id int primary key); insert into orders values (1)")
        .await?;
    let server = row
        .base
        .map(|base| base.server)
        .expect("an available resource is attached");

    world.destroy(id).await?;
    world.until(id, ResourceState::Deprovisioned).await?;
    assert!(!world.data_directory(server).exists(), "its data is gone");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hobby_databases_share_a_server_and_not_each_other() -> anyhow::Result<()> {
    let world = World::start().await?;
    let first = world.create("first", "hobby").await?;
    let second = world.create("second", "hobby").await?;
    let one = world.until(first, ResourceState::Available).await?;
    let other = world.until(second, ResourceState::Available).await?;
    let server = |row: &shared::db::fleet::ResourceRow| row.base.as_ref().map(|base| base.server);
    assert_eq!(server(&one), server(&other), "they share a server");
    world.connect(first).await?;
    world.connect(second).await?;

    let foreign = world
        .url(first)
        .await?
        .expose()
        .replace(&one.database_name, &other.database_name);
    let foreign = foreign.replacen(&other.database_name, &one.role_name, 1);
    let refused = <sqlx::PgConnection as sqlx::Connection>::connect(&foreign).await;
    assert!(
        refused.is_err(),
        "a customer does not get into the database of a neighbour"
    );

    world.destroy(first).await?;
    world.until(first, ResourceState::Deprovisioned).await?;
    world.connect(second).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_a_log_in_redis_or_in_an_argument() -> anyhow::Result<()> {
    let world = World::start().await?;
    let id = world.create("shop", "standard").await?;
    let row = world.until(id, ResourceState::Available).await?;
    let base = row.base.expect("an available resource is attached");
    let password = world.password(id).await?;
    let sealed = format!("participant/{}/prober-password", base.participant);
    let prober = world.vault.open(&sealed, &base.prober_password)?;
    world.connect(id).await?;

    let mut places = world.logs()?;
    assert!(
        places.len() >= 3,
        "logs of worker, agent and PostgreSQL: {places:?}"
    );
    places.push(world.redis.save_copy().await?);
    for process in [world.agent(base.server)?, world.postmaster(base.server)?] {
        places.push(format!("/proc/{}/cmdline", process.pid()).into());
    }
    for place in places {
        let text = String::from_utf8_lossy(&std::fs::read(&place)?).into_owned();
        for secret in [&password, &prober] {
            assert!(
                !text.contains(secret.expose()),
                "a password is in {}",
                place.display()
            );
        }
        assert!(
            !text.contains("PRIVATE KEY"),
            "a key is in {}",
            place.display()
        );
    }
    Ok(())
}
