//! Settings that change while PostgreSQL runs.

use shared::agent_api::InstanceSpec;
use sqlx::{Connection as _, PgConnection};
use tests::agent_server::{AgentServer, spec};

fn set(spec: &mut InstanceSpec, name: &str, value: &str) {
    spec.generation += 1;
    spec.settings.insert(name.to_owned(), value.to_owned());
}

async fn show(session: &mut PgConnection, name: &str) -> sqlx::Result<String> {
    sqlx::query_scalar("select current_setting($1)")
        .bind(name)
        .fetch_one(session)
        .await
}

#[tokio::test]
async fn postgres_restarts_only_for_settings_that_need_it() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    let first = server.converge(&spec).await?.postgres.unwrap();
    let mut session = server.connect(&spec, "shop", "shop").await?;

    set(&mut spec, "work_mem", "9MB");
    let reloaded = server.converge(&spec).await?.postgres.unwrap();
    assert_eq!(reloaded.pid, first.pid);
    session.ping().await?;
    assert_eq!(show(&mut session, "work_mem").await?, "9MB");

    set(&mut spec, "max_connections", "25");
    let restarted = server.converge(&spec).await?;
    assert_eq!(restarted.crashes, 0);
    assert_ne!(restarted.postgres.unwrap().pid, first.pid);
    let mut session = server.connect(&spec, "shop", "shop").await?;
    assert_eq!(show(&mut session, "max_connections").await?, "25");
    assert_eq!(show(&mut session, "work_mem").await?, "9MB");

    spec.generation += 1;
    spec.settings.remove("work_mem");
    server.converge(&spec).await?;
    let mut session = server.connect(&spec, "shop", "shop").await?;
    assert_eq!(show(&mut session, "work_mem").await?, "4MB");
    Ok(())
}

#[tokio::test]
async fn settings_that_postgres_refuses_do_not_stop_it() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    let before = server.converge(&spec).await?.postgres.unwrap();
    set(&mut spec, "max_connections", "plenty");
    server.instruct(&spec).await?;
    let status = server
        .until("refusing", |status| status.last_error.is_some())
        .await?;
    assert!(status.last_error.unwrap().contains("max_connections"));
    assert_eq!(status.converged_generation, 1);
    assert_eq!(status.postgres.unwrap().pid, before.pid);
    server.connect(&spec, "shop", "shop").await?.close().await?;

    set(&mut spec, "max_connections", "26");
    let healed = server.converge(&spec).await?;
    assert_eq!(healed.last_error, None);
    Ok(())
}

#[tokio::test]
async fn a_first_spec_with_bad_settings_says_so_and_is_repaired_by_the_next() -> anyhow::Result<()>
{
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    spec.settings
        .insert("wal_level".to_owned(), "enormous".to_owned());
    server.instruct(&spec).await?;
    let status = server
        .until("refusing", |status| status.last_error.is_some())
        .await?;
    assert!(status.last_error.unwrap().contains("wal_level"));
    set(&mut spec, "wal_level", "logical");
    server.converge(&spec).await?;
    server.connect(&spec, "shop", "shop").await?.close().await?;
    Ok(())
}

/// The agent looks, probes and answers; none of it may make PostgreSQL write.
#[tokio::test]
async fn an_idle_database_stays_idle() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    set(&mut spec, "autovacuum", "off");
    set(&mut spec, "checkpoint_timeout", "1h");
    let flushed = |status: shared::agent_api::InstanceStatus| status.postgres.unwrap().flush_lsn;
    server.converge(&spec).await?;
    let mut session = server.connect(&spec, "shop", "shop").await?;
    let insert: &str = "select pg_current_wal_insert_lsn()::text";
    // What creation wrote is still being flushed, and snapshots of running transactions follow it.
    let settled = |before: String, after: String| (before == after).then_some(after);
    let quiet = loop {
        let before: String = sqlx::query_scalar(insert).fetch_one(&mut session).await?;
        tokio::time::sleep(std::time::Duration::from_secs(16)).await;
        let after: String = sqlx::query_scalar(insert).fetch_one(&mut session).await?;
        if let Some(quiet) = settled(before, after) {
            break quiet;
        }
    };
    for _ in 0..5 {
        server.instruct(&spec).await?;
        flushed(server.status().await?);
    }
    let after: String = sqlx::query_scalar(insert).fetch_one(&mut session).await?;
    assert_eq!(after, quiet);
    Ok(())
}
