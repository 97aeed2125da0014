//! What clients of a gateway can do, and what they cannot.

use shared::clock::SystemClock;
use shared::domain::ResourceState;
use shared::pki::stored;
use shared::secret::Secret;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::world::{Led, connect};

/// What the server said, or the gateway in its place.
fn said(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_reach_their_database_through_either_port() -> anyhow::Result<()> {
    let led = Led::start().await?;
    let mut session = led.client().await?;
    session
        .execute("create temporary table notes (id int)")
        .await?;
    session.execute("insert into notes values (1)").await?;
    let notes: i64 = sqlx::query_scalar("select count(*) from notes")
        .fetch_one(&mut session)
        .await?;
    assert_eq!(notes, 1, "a session keeps what is its own");

    // Many clients share few connections: more of them than the plan allows at the server.
    let limit: i32 = sqlx::query_scalar(
        "select connection_limit from plans join resources on plan = plans.name
         where resources.id = $1",
    )
    .bind(led.id)
    .fetch_one(&led.world.database.pool)
    .await?;
    let mut clients = Vec::new();
    for _ in 0..limit + 5 {
        clients.push(led.pooled_client().await?);
    }
    for client in &mut clients {
        // (The driver prepares statements, which last longer than a transaction.)
        client.execute("begin; select 1; commit").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_tls_password_or_route() -> anyhow::Result<()> {
    let led = Led::start().await?;
    let url = led.world.url(led.id).await?;
    let url = url.expose();
    let refused = |url: String| async move { connect(&Secret::new(url)).await.unwrap_err() };

    let clear = refused(url.replace("sslmode=require", "sslmode=disable")).await;
    assert!(said(&clear).contains("SSL required"), "{clear}");
    let password = led.world.password(led.id).await?;
    let wrong = refused(url.replace(password.expose(), "guess")).await;
    assert!(
        said(&wrong).contains("SASL authentication failed"),
        "{wrong}"
    );
    let (server, _) = url.rsplit_once('/').expect("a URL has a path");
    let stranger = refused(format!("{server}/other?sslmode=require")).await;
    assert!(said(&stranger).contains("no such database"), "{stranger}");
    let console = refused(format!("{server}/pgbouncer?sslmode=require")).await;
    assert!(said(&console).contains("not allowed"), "{console}");

    led.world.destroy(led.id).await?;
    let gone = led.world.url(led.id).await?;
    led.world
        .until(led.id, ResourceState::Deprovisioned)
        .await?;
    let withdrawn = refused(gone.expose().to_owned()).await;
    // Neither the database nor its owner is known any more.
    assert!(
        said(&withdrawn).contains("SASL authentication failed"),
        "{withdrawn}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_can_check_whom_they_talk_to() -> anyhow::Result<()> {
    let led = Led::start().await?;
    let (pool, vault) = (&led.world.database.pool, &led.world.vault);
    let authority = stored::load_or_make(pool, vault, &SystemClock).await?;
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("authority.crt");
    std::fs::write(&root, authority.certificate_pem())?;
    let url = led.world.url(led.id).await?;
    let checked = format!("sslmode=verify-full&sslrootcert={}", root.display());
    let url = url.expose().replace("sslmode=require", &checked);
    let mut client = PgConnection::connect(&url).await?;
    client.ping().await?;
    let other = url.replace("127.0.0.1", "localhost");
    assert!(
        PgConnection::connect(&other).await.is_err(),
        "the certificate is for the host that the URL names"
    );
    Ok(())
}
