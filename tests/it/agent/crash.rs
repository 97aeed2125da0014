//! PostgreSQL that ends, or hangs, without being told to.

use std::time::Duration;

use anyhow::Context as _;
use shared::agent_api::Phase;
use shared::process::{RunningProcess, Signal, processes_in};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tests::agent_server::{AgentServer, spec};
use tokio::time::timeout;

async fn backend_of(session: &mut PgConnection) -> anyhow::Result<RunningProcess> {
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(session)
        .await?;
    Ok(RunningProcess::open(u32::try_from(pid)?)?)
}

#[tokio::test]
async fn a_killed_postmaster_is_replaced_after_its_busy_backend_is_gone() -> anyhow::Result<()> {
    let server = AgentServer::start(false).await?;
    let spec = spec().await?;
    let before = server.converge(&spec).await?.postgres.unwrap();
    let mut session = server.connect(&spec, "shop", "shop").await?;
    session.execute("create table written (id bigint)").await?;
    let backend = backend_of(&mut session).await?;
    // A procedure that commits as long as nobody stops it: it does not notice that the postmaster
    // is gone.
    let busy = timeout(
        Duration::from_mins(2),
        session.execute(
            "do $$ begin for i in 1..1000000000 loop
                insert into written values (i); commit;
            end loop; end $$",
        ),
    );
    let mut watch = server.connect(&spec, "shop", "shop").await?;
    let heal = async {
        loop {
            let busy: bool = sqlx::query_scalar("select exists (select from written)")
                .fetch_one(&mut watch)
                .await?;
            if busy {
                break;
            }
        }
        RunningProcess::open(before.pid)?.signal(Signal::KILL)?;
        server
            .until("healed", |status| {
                status.crashes == 1
                    && status
                        .postgres
                        .as_ref()
                        .is_some_and(|postgres| postgres.pid != before.pid)
            })
            .await
    };
    let (busy, healed) = tokio::join!(busy, heal);
    let (busy, healed) = (busy.context("the backend goes on")?, healed?);
    assert!(busy.is_err());
    timeout(Duration::ZERO, backend.ended())
        .await
        .context("the old backend lives beside the new PostgreSQL")??;
    assert_eq!(
        (healed.phase, healed.converged_generation),
        (Phase::Running, 1)
    );
    assert!(healed.last_error.unwrap().contains("SIGKILL"));
    let mut session = server.connect(&spec, "shop", "shop").await?;
    let written: i64 = sqlx::query_scalar("select count(*) from written")
        .fetch_one(&mut session)
        .await?;
    assert!(written > 0);
    Ok(())
}

#[tokio::test]
async fn a_crash_that_no_agent_saw_is_counted() -> anyhow::Result<()> {
    let mut server = AgentServer::start(false).await?;
    let spec = spec().await?;
    server.converge(&spec).await?;
    server.kill_agent().await?;
    for process in processes_in(&server.data_directory())? {
        process.signal(Signal::KILL)?;
        process.ended().await?;
    }
    server.start_agent().await?;
    let healed = server
        .until("healed", |status| status.postgres.is_some())
        .await?;
    assert_eq!(healed.crashes, 1, "{}", server.postgres_log());
    server.connect(&spec, "shop", "shop").await?.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_postgres_that_hangs_is_replaced_when_a_restart_is_asked_for() -> anyhow::Result<()> {
    let server = AgentServer::start(false).await?;
    let mut spec = spec().await?;
    let before = server.converge(&spec).await?.postgres.unwrap();
    for process in processes_in(&server.data_directory())? {
        process.signal(Signal::STOP)?;
    }
    let hanging = server.until("hanging", |status| {
        status
            .postgres
            .as_ref()
            .is_some_and(|postgres| postgres.flush_lsn.is_none())
    });
    assert_eq!(hanging.await?.postgres.unwrap().pid, before.pid);

    (spec.generation, spec.incarnation) = (2, 2);
    let after = server.converge(&spec).await?;
    assert_ne!(after.postgres.unwrap().pid, before.pid);
    assert_eq!(after.crashes, 0);
    server.connect(&spec, "shop", "shop").await?.close().await?;
    Ok(())
}
