//! Servers that do not answer, and what is said of them.

use std::time::Duration;

use shared::clock::SystemClock;
use shared::domain::Outage;
use shared::pki::CertificateAuthority;
use shared::secret::Secret;
use workers::observe::Target;

use super::world::{GENEROUS_MS, World, feel, prober, until};

/// Short: these looks are meant to run into it.
const SHORT_MS: u64 = 500;

#[tokio::test]
async fn a_wedged_server_times_out_and_is_seen_again_when_it_goes_on() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let prober = prober(SHORT_MS);
    let target = world.target("shop");
    until("it is available", async || {
        Ok(feel(&prober, &target).await.available)
    })
    .await?;
    let frozen = world.freeze(&world.processes()?)?;
    for _ in 0..2 {
        let seen = feel(&prober, &target).await;
        assert_eq!(seen.outage, Some(Outage::TimedOut));
        assert!(!seen.available);
        assert_eq!(seen.connections, None);
    }
    assert_eq!(
        prober.kept_connections(),
        0,
        "a connection without an answer is not kept"
    );
    drop(frozen);
    until("it is available again", async || {
        Ok(feel(&prober, &target).await.available)
    })
    .await
}

#[tokio::test]
async fn a_postmaster_that_admits_nobody_times_out() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let target = world.target("shop");
    let frozen = world.freeze(&[world.postmaster()?])?;
    let prober = prober(SHORT_MS);
    assert_eq!(feel(&prober, &target).await.outage, Some(Outage::TimedOut));
    drop(frozen);
    until("it is available again", async || {
        Ok(feel(&prober, &target).await.available)
    })
    .await
}

#[tokio::test]
async fn a_session_of_ours_that_hangs_is_replaced() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let prober = prober(SHORT_MS);
    let target = world.target("shop");
    until("it is available", async || {
        Ok(feel(&prober, &target).await.available)
    })
    .await?;
    let feelers = world.feelers().await?;
    let frozen = world.freeze(&feelers)?;
    assert_eq!(feel(&prober, &target).await.outage, Some(Outage::TimedOut));
    until("another session answers", async || {
        Ok(feel(&prober, &target).await.available)
    })
    .await?;
    drop(frozen);
    until("the old one is gone", async || {
        let now = world.feelers().await?;
        Ok(now.len() == 1 && now != feelers)
    })
    .await
}

#[tokio::test]
async fn a_look_that_is_dropped_half_way_leaves_no_session_behind() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    assert!(feel(&prober, &target).await.available);
    assert_eq!(prober.kept_connections(), 1);
    let frozen = world.freeze(&world.feelers().await?)?;
    let dropped = tokio::time::timeout(Duration::from_millis(50), feel(&prober, &target)).await;
    assert!(dropped.is_err());
    assert_eq!(prober.kept_connections(), 0);
    drop(frozen);
    let seen = feel(&prober, &target).await;
    assert!(seen.available, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_restart_between_two_looks_costs_no_outage() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    world.create("shop").await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    let before = feel(&prober, &target).await;
    world.server.restart().await?;
    let after = feel(&prober, &target).await;
    assert!(after.available, "{after:?}");
    assert!(after.postgres_started_at > before.postgres_started_at);
    world.server.stop().await?;
    assert_eq!(feel(&prober, &target).await.outage, Some(Outage::Refused));
    Ok(())
}

#[tokio::test]
async fn a_session_that_was_terminated_is_replaced_within_the_look() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    assert!(feel(&prober, &target).await.available);
    let admin = world.admin("postgres").await?;
    admin
        .run(
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity
             where application_name = 'ringmaster-feel'",
        )
        .await?;
    let seen = feel(&prober, &target).await;
    assert!(seen.available, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_broken() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let good = world.target("shop");
    let other_ca = CertificateAuthority::generate(&SystemClock)?;
    let cases = [
        (
            "database",
            Target {
                database: "nowhere".to_owned(),
                ..good.clone()
            },
        ),
        (
            "role",
            Target {
                customer_role: "nobody".to_owned(),
                ..good.clone()
            },
        ),
        (
            "password",
            Target {
                prober_password: Secret::new("wrong"),
                ..good.clone()
            },
        ),
        (
            "name",
            Target {
                server_name: "other.server.ringmaster.internal".to_owned(),
                ..good.clone()
            },
        ),
        (
            "authority",
            Target {
                ca_pem: other_ca.certificate_pem().into(),
                ..good.clone()
            },
        ),
    ];
    for (what, target) in cases {
        let seen = feel(&prober(GENEROUS_MS), &target).await;
        assert_eq!(seen.outage, Some(Outage::Broken), "wrong {what}");
    }
    let no_tls = world.admin("postgres").await?;
    no_tls.run("alter system set ssl = off").await?;
    no_tls.run("select pg_reload_conf()").await?;
    until("a server without TLS is broken", async || {
        Ok(feel(&prober(GENEROUS_MS), &good).await.outage == Some(Outage::Broken))
    })
    .await
}
