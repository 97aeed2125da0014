//! What breaks around a gateway.

use std::time::Duration;

use shared::domain::{GatewayAlert, ResourceState, Traffic};
use shared::process::Signal;
use sqlx::Executor as _;
use tests::world::{GatewayPorts, PATIENCE, World};
use tokio::time::{Instant, sleep};

use super::world::{Led, until_live, until_ok, until_problem};

/// Bouncers go on when their gateway ends, as in production.
const OUTLIVES: [(&str, &str); 1] = [("RINGMASTER_PGBOUNCER_DIES_WITH_GATEWAY", "false")];

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_notice_that_the_gateway_is_replaced() -> anyhow::Result<()> {
    let mut led = Led::start_with(&OUTLIVES).await?;
    let mut client = led.client().await?;
    client.execute("begin").await?;
    let pids = |led: &Led| -> anyhow::Result<Vec<u32>> {
        let bouncers = led.gateway.bouncers()?;
        Ok(bouncers
            .iter()
            .map(shared::process::RunningProcess::pid)
            .collect())
    };
    let before = pids(&led)?;
    assert_eq!(before.len(), 2);
    led.gateway.kill().await?;
    client.execute("select 1").await?;
    led.client().await?;

    // Nobody applies words now, and after a while nobody is believed to.
    let refused = led.say(Traffic::Cut).await.unwrap_err();
    assert!(
        format!("{refused:#}").contains("no gateway is live")
            || format!("{refused:?}").contains("NobodyLive"),
        "{refused:?}"
    );
    client.execute("select 1").await?;

    let ports = Some(led.gateway.ports);
    let next = led.world.start_gateway("gateway", ports, &OUTLIVES).await?;
    until_live(&led.world, 1).await?;
    assert_eq!(pids(&led)?, before, "the bouncers are the same ones");
    assert!(
        client.execute("select 1").await.is_err(),
        "the word is in force"
    );
    led.say(Traffic::Open).await?;
    led.client().await?;
    led.gateway = next;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bouncer_that_dies_is_back_with_its_routes_and_pauses() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    led.client().await?;
    for bouncer in led.gateway.bouncers()? {
        bouncer.signal(Signal::KILL)?;
    }
    until_ok(async || led.client().await).await?;
    until_ok(async || led.pooled_client().await).await?;

    led.say(Traffic::Cut).await?;
    for bouncer in led.gateway.bouncers()? {
        bouncer.signal(Signal::KILL)?;
        bouncer.ended().await?;
    }
    until_live(&led.world, 1).await?;
    until_ok(async || {
        anyhow::ensure!(led.gateway.bouncers()?.len() == 2, "both run");
        Ok(())
    })
    .await?;
    sleep(Duration::from_millis(500)).await;
    led.holds_new_clients_until_open().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_led_while_the_control_database_is_away() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    let url = led.world.url(led.id).await?;
    led.world.database.server_mut().stop().await?;
    sleep(Duration::from_secs(1)).await;
    super::world::connect(&url).await?;
    for bouncer in led.gateway.bouncers()? {
        bouncer.signal(Signal::KILL)?;
    }
    let mut client = until_ok(async || Ok(super::world::connect(&url).await?)).await?;
    client.execute("select 1").await?;
    led.world.database.server_mut().restart().await?;
    client.execute("select 1").await?;
    until_ok(async || led.say_again().await).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_database_that_was_put_back_is_followed() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    led.world.kill_worker(0).await?;
    led.say(Traffic::Open).await?;
    let mut client = led.client().await?;
    client.execute("select 1").await?;

    // As it was when the database was still cut off.
    let pool = &led.world.database.pool;
    for statement in [
        "update routes set traffic = 'cut', change = 5, generation = 3",
        "update route_changes set newest = 5",
    ] {
        sqlx::query(statement).execute(pool).await?;
    }
    let begun = Instant::now();
    while client.execute("select 1").await.is_ok() {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "it is led as before");
        sleep(Duration::from_millis(20)).await;
    }
    led.holds_new_clients_until_open().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_is_in_force_once_every_live_replica_has_it() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    let second = led.world.start_gateway("second", None, &[]).await?;
    until_live(&led.world, 2).await?;
    led.say(Traffic::Open).await?;

    // One that is frozen is waited for, until it counts as gone.
    second.process().signal(Signal::STOP)?;
    let begun = Instant::now();
    led.say(Traffic::Open).await?;
    assert!(
        begun.elapsed() > Duration::from_millis(500),
        "it was waited for"
    );
    let begun = Instant::now();
    led.say(Traffic::Cut).await?;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "it is not any more"
    );

    // When it is back, it does what was said meanwhile.
    let mut client = led.client_of(&second).await?;
    second.process().signal(Signal::CONT)?;
    until_live(&led.world, 2).await?;
    assert!(client.execute("select 1").await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_serve_says_why() -> anyhow::Result<()> {
    let led = Led::start().await?;
    let variables = [("RINGMASTER_PGBOUNCER", "/bin/false")];
    let broken = led.world.start_gateway("broken", None, &variables).await?;
    until_problem(&led.world, "/bin/false").await?;
    until_alert(&led, GatewayAlert::Impaired).await?;
    // Whoever is broken, its words are not in force, and no database is given out meanwhile.
    let id = led.world.create("late", "hobby").await?;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(led.world.row(id).await?.state, ResourceState::Creating);
    drop(broken);
    led.world.until(id, ResourceState::Available).await?;
    // As if half a minute had passed.
    sqlx::query("update gateways set seen_at = seen_at - interval '1 minute'")
        .execute(&led.world.database.pool)
        .await?;
    until_alert(&led, GatewayAlert::Silent).await
}

/// Waits until this alert about a gateway is open.
async fn until_alert(led: &Led, alert: GatewayAlert) -> anyhow::Result<()> {
    until_ok(async || {
        let open: Vec<String> = sqlx::query_scalar(
            "select name from alerts where subject_kind = 'gateway' and cleared_at is null",
        )
        .fetch_all(&led.world.database.pool)
        .await?;
        let is_open = open.iter().any(|open| open == alert.as_str());
        anyhow::ensure!(is_open, "open are {open:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_port_is_somebody_elses_says_so() -> anyhow::Result<()> {
    let led = Led::start().await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let ports = GatewayPorts {
        session: taken.local_addr()?.port(),
        pooled: World::free_port()?,
    };
    let _taken = led.world.start_gateway("taken", Some(ports), &[]).await?;
    until_problem(&led.world, "no socket at 127.0.0.1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bouncer_that_hangs_is_replaced() -> anyhow::Result<()> {
    let led = Led::start().await?;
    let bouncers = led.gateway.bouncers()?;
    for bouncer in &bouncers {
        bouncer.signal(Signal::STOP)?;
    }
    until_ok(async || {
        let now = led.gateway.bouncers()?;
        let is_new = now
            .iter()
            .all(|now| bouncers.iter().all(|before| before.pid() != now.pid()));
        anyhow::ensure!(is_new && now.len() == 2, "the same ones");
        Ok(())
    })
    .await?;
    until_ok(async || led.client().await).await?;
    until_live(&led.world, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_cannot_be_read_is_nobody_elses_trouble() -> anyhow::Result<()> {
    let mut led = Led::start().await?;
    sqlx::query("update resources set verifier = '\\x00' where id = $1")
        .bind(led.id)
        .execute(&led.world.database.pool)
        .await?;
    assert!(led.say(Traffic::Cut).await.is_err(), "it is not in force");
    until_problem(&led.world, "1 routes cannot be read").await?;
    // Its clients are led as before, and other routes are made.
    led.client().await?;
    let id = led.world.create("other", "hobby").await?;
    led.world.until(id, ResourceState::Available).await?;
    led.world.connect(id).await?;
    Ok(())
}
