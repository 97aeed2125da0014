//! Agents come and go; PostgreSQL stays, or goes with them if it shall.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use shared::agent_api::{InstanceRole, Phase};
use shared::process::{RunningProcess, Signal, processes_in};
use sqlx::Connection as _;
use tests::agent_server::{AgentServer, spec};
use tokio::time::timeout;

#[tokio::test]
async fn postgres_outlives_its_agent_and_is_adopted_by_the_next() -> anyhow::Result<()> {
    let mut server = AgentServer::start(false).await?;
    let mut spec = spec().await?;
    let before = server.converge(&spec).await?;
    let mut session = server.connect(&spec, "shop", "shop").await?;
    for round in 0..2 {
        if round == 0 {
            server.kill_agent().await?;
        } else {
            server.stop_agent().await?;
        }
        session.ping().await?;
        server.start_agent().await?;
        let after = server
            .until("adopted", |status| status.postgres.is_some())
            .await?;
        assert_eq!(after.converged_generation, 1);
        assert_eq!(after.crashes, 0);
        let (before, after) = (before.postgres.clone().unwrap(), after.postgres.unwrap());
        assert_eq!(
            (after.pid, after.started_at),
            (before.pid, before.started_at)
        );
        assert_eq!(after.system_identifier, before.system_identifier);
    }
    session.ping().await?;
    spec.generation = 2;
    spec.settings
        .insert("work_mem".to_owned(), "5MB".to_owned());
    server.converge(&spec).await?;
    session.ping().await?;
    let work_mem: String = sqlx::query_scalar("show work_mem")
        .fetch_one(&mut session)
        .await?;
    assert_eq!(work_mem, "5MB");

    (spec.generation, spec.role) = (3, InstanceRole::Stopped);
    server.converge(&spec).await?;
    assert!(processes_in(&server.data_directory())?.is_empty());
    Ok(())
}

#[tokio::test]
async fn postgres_dies_with_its_agent_if_it_shall() -> anyhow::Result<()> {
    let mut server = AgentServer::start(true).await?;
    let spec = spec().await?;
    let before = server.converge(&spec).await?;
    let postmaster = RunningProcess::open(before.postgres.unwrap().pid)?;
    server.kill_agent().await?;
    timeout(Duration::from_mins(1), postmaster.ended())
        .await
        .context("PostgreSQL goes on")??;
    server.start_agent().await?;
    let after = server
        .until("running", |status| status.postgres.is_some())
        .await?;
    assert_eq!((after.crashes, after.converged_generation), (0, 1));
    server.connect(&spec, "shop", "shop").await?.close().await?;

    server.stop_agent().await?;
    assert!(processes_in(&server.data_directory())?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_directory_has_one_agent() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut second = server.launch().await?;
    let outcome = timeout(Duration::from_mins(1), second.wait()).await??;
    assert!(!outcome.success());
    assert!(
        server.agent_log().contains("another agent manages"),
        "{}",
        server.agent_log()
    );
    server.status().await?;
    Ok(())
}

/// Kills the agent in the first moment that `reached` sees, over and over, from nothing to a
/// database that serves.
#[tokio::test]
async fn creation_goes_on_wherever_the_agent_was_killed() -> anyhow::Result<()> {
    let mut server = AgentServer::start(false).await?;
    let spec = spec().await?;
    server.instruct(&spec).await?;
    server.kill_agent().await?;
    let (data, unfinished) = (
        server.data_directory(),
        server.file("server/data.unfinished"),
    );
    let configuration = server.file("server/configuration/postgresql.conf");
    let reached: [(&str, &dyn Fn() -> bool); 5] = [
        ("initdb begins", &|| unfinished.exists()),
        ("initdb works", &|| unfinished.join("base/1").exists()),
        ("the data has its name", &|| data.exists()),
        ("the configuration is written", &|| configuration.exists()),
        ("PostgreSQL starts", &|| {
            data.join("postmaster.pid").exists()
        }),
    ];
    for (what, reached) in reached {
        server.start_agent().await?;
        timeout(Duration::from_mins(1), async {
            while !reached() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .with_context(|| format!("{what}: {}", server.agent_log()))?;
        server.kill_agent().await?;
    }
    server.start_agent().await?;
    let status = server
        .until("converged", |status| status.converged_generation == 1)
        .await?;
    assert_eq!(status.phase, Phase::Running);
    server.connect(&spec, "shop", "shop").await?.close().await?;
    assert!(!unfinished.exists());
    Ok(())
}

#[tokio::test]
async fn after_a_boot_a_leader_waits_until_its_generation_is_confirmed() -> anyhow::Result<()> {
    let mut server = AgentServer::start(true).await?;
    let spec = spec().await?;
    server.converge(&spec).await?;
    server.kill_agent().await?;
    fs::write(server.file("boot_id"), "second boot")?;
    server.start_agent().await?;
    let waiting = server
        .until("waiting", |status| status.last_error.is_some())
        .await?;
    assert_eq!((waiting.phase, waiting.postgres), (Phase::Stopped, None));
    assert_eq!(waiting.boot_id, "second boot");
    assert!(
        waiting
            .last_error
            .unwrap()
            .contains("until the generation is confirmed")
    );
    assert!(processes_in(&server.data_directory())?.is_empty());

    server.instruct(&spec).await?;
    let running = server
        .until("running", |status| status.postgres.is_some())
        .await?;
    assert_eq!(running.last_error, None);
    server.connect(&spec, "shop", "shop").await?.close().await?;
    Ok(())
}

#[tokio::test]
async fn an_agent_that_is_down_is_told_from_one_that_is_silent() -> anyhow::Result<()> {
    let mut server = AgentServer::start(true).await?;
    let worker = server.worker()?;
    let authority = server.authority.certificate_pem();
    let hasty = shared::agent_api::client::AgentClient::new(
        authority,
        &worker,
        Duration::from_millis(500),
    )?;
    server.signal_agent(Signal::STOP)?;
    let request_id = shared::ids::RequestId::new();
    let silent = hasty.status(server.address, request_id).await.unwrap_err();
    assert!(!silent.is_hard_evidence(), "{silent:?}");
    server.signal_agent(Signal::CONT)?;
    server.kill_agent().await?;
    let down = hasty.status(server.address, request_id).await.unwrap_err();
    assert!(down.is_hard_evidence(), "{down:?}");
    Ok(())
}
