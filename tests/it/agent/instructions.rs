//! What the agent takes and what it refuses.

use shared::agent_api::client::AgentError;
use shared::agent_api::{Birth, InstanceRole, InstanceSpec, Phase, RefusalCode};
use shared::ids::{ParticipantId, RequestId};
use shared::process::processes_in;
use sqlx::postgres::PgSslMode;
use sqlx::{Connection as _, PgConnection};
use tests::agent_server::{AgentServer, database, spec};

#[tokio::test]
async fn a_new_database_serves_its_owner_over_tls() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let empty = server.status().await?;
    assert_eq!(
        (empty.phase, empty.generation, empty.participant),
        (Phase::Empty, 0, None)
    );

    let spec = spec().await?;
    let accepted = server.instruct(&spec).await?;
    assert_eq!(accepted.spec_digest, Some(spec.digest()));
    let status = server.converge(&spec).await?;
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(status.last_error, None);
    let postgres = status.postgres.unwrap();
    assert!(postgres.flush_lsn.is_some());
    assert_eq!(postgres.tli, 1);

    let mut owner = server.connect(&spec, "shop", "shop").await?;
    sqlx::raw_sql("create table orders (id int); insert into orders values (1)")
        .execute(&mut owner)
        .await?;
    let (checksums, version, shared_buffers): (String, String, String) = sqlx::query_as(
        "select current_setting('data_checksums'), current_setting('server_version'),
            current_setting('shared_buffers')",
    )
    .fetch_one(&mut owner)
    .await?;
    assert_eq!(
        (checksums.as_str(), shared_buffers.as_str()),
        ("on", "16MB")
    );
    assert!(
        version.starts_with(&postgres.version),
        "{version} {}",
        postgres.version
    );

    let plain = server
        .connect_options(&spec, "shop", "shop")
        .ssl_mode(PgSslMode::Disable);
    let refused = PgConnection::connect_with(&plain)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("no encryption"), "{refused}");
    let wrong = server
        .connect_options(&spec, "shop", "shop")
        .password("guess");
    let refused = PgConnection::connect_with(&wrong)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
    assert!(server.connect(&spec, "postgres", "postgres").await.is_err());
    Ok(())
}

fn code(outcome: Result<impl std::fmt::Debug, AgentError>) -> RefusalCode {
    let error = outcome.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
    refusal.code
}

#[tokio::test]
async fn late_and_contradictory_instructions_are_refused_and_change_nothing() -> anyhow::Result<()>
{
    let server = AgentServer::start(true).await?;
    let held = InstanceSpec {
        generation: 5,
        ..spec().await?
    };
    let before = server.converge(&held).await?;
    let attempt = |change: fn(&mut InstanceSpec)| {
        let mut spec = held.clone();
        change(&mut spec);
        let server = &server;
        async move { code(server.instruct(&spec).await) }
    };
    let late_stop = attempt(|spec| (spec.generation, spec.role) = (4, InstanceRole::Stopped)).await;
    assert_eq!(late_stop, RefusalCode::OldGeneration);
    let late_removal =
        attempt(|spec| (spec.generation, spec.role) = (1, InstanceRole::Removed)).await;
    assert_eq!(late_removal, RefusalCode::OldGeneration);
    let reused = attempt(|spec| spec.role = InstanceRole::Stopped).await;
    assert_eq!(reused, RefusalCode::GenerationReused);
    let other = attempt(|spec| {
        spec.participant = ParticipantId::new();
        spec.generation = 6;
    });
    assert_eq!(other.await, RefusalCode::OtherParticipant);
    let invalid = attempt(|spec| {
        spec.generation = 6;
        spec.settings.insert("ssl".to_owned(), "off".to_owned());
    });
    assert_eq!(invalid.await, RefusalCode::Invalid);
    let unborn = attempt(|spec| {
        spec.generation = 6;
        spec.birth = Birth::Initdb { postgres_major: 99 };
    });
    assert_eq!(unborn.await, RefusalCode::Invalid);

    let again = InstanceSpec {
        request_id: RequestId::new(),
        ..held.clone()
    };
    let after = server.instruct(&again).await?;
    assert_eq!(after.generation, 5);
    assert_eq!(after.spec_digest, before.spec_digest);
    assert_eq!(after.postgres.unwrap().pid, before.postgres.unwrap().pid);
    server.connect(&held, "shop", "shop").await?.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_not_installed_is_refused_at_once() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    spec.birth = Birth::Initdb { postgres_major: 99 };
    let error = server.instruct(&spec).await.unwrap_err().to_string();
    assert!(error.contains("apt-get install postgresql-99"), "{error}");
    assert_eq!(server.status().await?.generation, 0);
    Ok(())
}

#[tokio::test]
async fn stopped_leaves_no_process_and_removed_leaves_no_data() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    server.converge(&spec).await?;
    let mut owner = server.connect(&spec, "shop", "shop").await?;
    sqlx::raw_sql("create table kept (id int); insert into kept values (7)")
        .execute(&mut owner)
        .await?;

    (spec.generation, spec.role) = (2, InstanceRole::Stopped);
    let stopped = server.converge(&spec).await?;
    assert_eq!(
        (stopped.phase, stopped.postgres, stopped.crashes),
        (Phase::Stopped, None, 0)
    );
    assert!(processes_in(&server.data_directory())?.is_empty());

    (spec.generation, spec.role) = (3, InstanceRole::Leader);
    server.converge(&spec).await?;
    let mut owner = server.connect(&spec, "shop", "shop").await?;
    let kept: i32 = sqlx::query_scalar("select id from kept")
        .fetch_one(&mut owner)
        .await?;
    assert_eq!(kept, 7);

    (spec.generation, spec.role) = (4, InstanceRole::Removed);
    let removed = server.converge(&spec).await?;
    assert_eq!((removed.phase, removed.generation), (Phase::Removed, 4));
    assert!(processes_in(&server.data_directory())?.is_empty());
    assert!(!server.data_directory().exists());
    assert!(!server.file("server/configuration").exists());

    (spec.generation, spec.role) = (5, InstanceRole::Leader);
    server.instruct(&spec).await?;
    let status = server
        .until("refusing", |status| status.last_error.is_some())
        .await?;
    assert!(
        status
            .last_error
            .unwrap()
            .contains("not replaced by an empty one")
    );
    assert!(!server.data_directory().exists());
    Ok(())
}

#[tokio::test]
async fn a_spec_that_forgets_a_database_does_not_cost_its_data() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    server.converge(&spec).await?;
    spec.generation = 2;
    spec.databases.clear();
    server.converge(&spec).await?;
    server.connect(&spec, "shop", "shop").await?.close().await?;

    spec.generation = 3;
    spec.databases = vec![database("shop")];
    spec.databases[0].connection_limit = 1;
    server.converge(&spec).await?;
    let _only = server.connect(&spec, "shop", "shop").await?;
    let refused = server
        .connect(&spec, "shop", "shop")
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("too many connections"), "{refused}");
    Ok(())
}
