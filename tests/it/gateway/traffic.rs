//! What words about traffic do to clients.

use shared::domain::{ResourceState, Traffic};
use shared::ports::EndpointError;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::{sleep, timeout};

use super::world::{A_WHILE, Led};

/// The process at the server that serves a client.
async fn backend(client: &mut PgConnection) -> anyhow::Result<i32> {
    let rows = client.fetch_one("select pg_backend_pid()").await?;
    Ok(sqlx::Row::get(&rows, 0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_client_notices_a_pause_only_by_waiting() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    let mut busy = led.pooled_client().await?;
    let mut other = led.pooled_client().await?;
    busy.execute("begin").await?;
    let transaction = async {
        sleep(A_WHILE).await;
        busy.execute("create table notes (id int)").await?;
        busy.execute("commit").await?;
        anyhow::Ok(())
    };
    let paused = led.say(Traffic::Paused);
    let (committed, paused) = tokio::join!(transaction, paused);
    committed?;
    paused?;
    // The transaction was let finish; nothing begins.
    assert!(timeout(A_WHILE, other.execute("select 1")).await.is_err());
    led.say(Traffic::Open).await?;
    busy.execute("insert into notes values (1)").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_in_force_only_once_sessions_have_left() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    let mut client = led.client().await?;
    client.execute("select 1").await?;
    let refused = led.say(Traffic::Paused).await.unwrap_err();
    let refused = refused.downcast_ref::<EndpointError>();
    assert!(
        matches!(refused, Some(EndpointError::Transient { .. })),
        "{refused:?}"
    );
    client.close().await?;
    led.say(Traffic::Paused).await?;
    led.holds_new_clients_until_open().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_ends_every_session_at_once_and_new_clients_wait() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    let mut session = led.client().await?;
    let mut pooled = led.pooled_client().await?;
    session.execute("begin").await?;
    pooled.execute("begin").await?;
    led.say(Traffic::Cut).await?;
    assert!(session.execute("select 1").await.is_err());
    assert!(pooled.execute("select 1").await.is_err());
    led.holds_new_clients_until_open().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_one_database_is_nothing_to_another() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    let neighbour = led.world.create("neighbour", "hobby").await?;
    led.world.until(neighbour, ResourceState::Available).await?;
    let mut other = led.world.connect(neighbour).await?;
    let served_by = backend(&mut other).await?;
    for traffic in [Traffic::Cut, Traffic::Open, Traffic::Paused, Traffic::Open] {
        led.say(traffic).await?;
        assert_eq!(backend(&mut other).await?, served_by, "{traffic}");
    }
    // Neither does one that comes and goes.
    let guest = led.world.create("guest", "hobby").await?;
    led.world.until(guest, ResourceState::Available).await?;
    led.world.destroy(guest).await?;
    led.world.until(guest, ResourceState::Deprovisioned).await?;
    assert_eq!(backend(&mut other).await?, served_by);
    Ok(())
}
