//! Children and data directories, with real PostgreSQL and Redis.

use std::time::Duration;

use anyhow::Context as _;
use shared::process::{
    Account, DeathSignal, EmbeddedPostgres, EmbeddedPostgresOptions, EmbeddedRedis,
    EmbeddedRedisOptions, Lifetime, PostgresInstallations, ProcessError, Program, RunningProcess,
    Signal, free_port, processes_in, run_to_end,
};
use shared::secret::Secret;
use sqlx::{Connection as _, PgConnection};
use tests::postgres_server::PostgresServer;

const DIES: Lifetime = Lifetime::DiesWithUs(DeathSignal::Quit);

async fn one(url: &str) -> sqlx::Result<i32> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query_scalar("select 1")
        .fetch_one(&mut connection)
        .await
}

#[tokio::test]
async fn a_test_server_answers_and_comes_back_after_a_kill() -> anyhow::Result<()> {
    let mut server = PostgresServer::start().await?;
    let url = server.create_database("shop").await?;
    assert_eq!(one(&url).await?, 1);
    server.kill().await?;
    assert!(one(&url).await.is_err());
    assert_eq!(processes_in(&server.data_directory())?.len(), 0);
    server.restart().await?;
    assert_eq!(one(&url).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_dropped_test_server_leaves_nothing_behind() -> anyhow::Result<()> {
    let server = PostgresServer::start().await?;
    let directory = server.data_directory();
    assert!(!processes_in(&directory)?.is_empty());
    drop(server);
    assert!(!directory.exists());
    Ok(())
}

fn options(directory: &std::path::Path, port: u16) -> EmbeddedPostgresOptions {
    EmbeddedPostgresOptions {
        data_directory: directory.join("data"),
        log: directory.join("log"),
        port,
        password: Some(Secret::new("not guessed")),
        lifetime: DIES,
        settings: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
    }
}

#[tokio::test]
async fn an_embedded_postgres_is_made_adopted_and_stopped() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let account = Account::for_postgres()?;
    account.give(directory.path())?;
    let installations = PostgresInstallations::discover(&[]).await;
    let binaries = installations.newest()?;
    let first =
        EmbeddedPostgres::start(binaries, &account, options(directory.path(), free_port()?))
            .await?;
    first.ensure_database("control").await?;
    first.ensure_database("control").await?;
    assert_eq!(one(first.url("control").expose()).await?, 1);
    let wrong = first
        .url("control")
        .expose()
        .replace("not guessed", "guessed");
    assert!(one(&wrong).await.is_err());

    let again =
        EmbeddedPostgres::start(binaries, &account, options(directory.path(), free_port()?))
            .await?;
    assert_eq!(again.process().pid(), first.process().pid());
    assert_eq!(again.port(), first.port());
    again.stop().await?;
    first.process().ended().await?;
    assert!(processes_in(&directory.path().join("data"))?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_postgres_that_cannot_start_says_why() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let account = Account::for_postgres()?;
    account.give(directory.path())?;
    let installations = PostgresInstallations::discover(&[]).await;
    let mut options = options(directory.path(), free_port()?);
    options
        .settings
        .push(("shared_buffers".to_owned(), "a lot".to_owned()));
    let error = EmbeddedPostgres::start(installations.newest()?, &account, options)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("shared_buffers"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_embedded_redis_answers_and_its_leftovers_are_ended() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let options = |port| EmbeddedRedisOptions {
        directory: directory.path().join("redis"),
        log: directory.path().join("redis.log"),
        port,
        password: Some(Secret::new("sesame")),
        lifetime: Lifetime::DiesWithUs(DeathSignal::Kill),
        settings: vec!["appendonly yes".to_owned()],
    };
    let first = EmbeddedRedis::start(options(free_port()?)).await?;
    let second = EmbeddedRedis::start(options(free_port()?)).await?;
    first.process().ended().await?;
    let left = processes_in(second.directory())?;
    assert_eq!(
        left.iter().map(RunningProcess::pid).collect::<Vec<_>>(),
        [second.process().pid()]
    );
    second.stop().await?;
    Ok(())
}

/// A shell in our place: it starts a child with a death signal through the same wrapper, is
/// killed, and the child must follow.
#[tokio::test]
async fn a_child_that_shall_die_with_its_parent_does() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let script = "setpriv --pdeathsig KILL -- sleep 600 & echo $! > child; wait";
    let parent = Program::new("sh", &Account::current())
        .args(["-c", script])
        .directory(directory.path())
        .launch(
            Lifetime::DiesWithUs(DeathSignal::Kill),
            &directory.path().join("log"),
        )
        .await?;
    let child = loop {
        let text = tokio::fs::read_to_string(directory.path().join("child")).await;
        if let Ok(pid) = text.unwrap_or_default().trim().parse() {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
            if comm.trim() == "sleep" {
                break RunningProcess::open(pid)?;
            }
        }
        tokio::task::yield_now().await;
    };
    parent.process().signal(Signal::KILL)?;
    tokio::time::timeout(Duration::from_secs(20), child.ended())
        .await
        .context("the child goes on")??;
    Ok(())
}

#[tokio::test]
async fn a_failed_program_tells_what_it_wrote() {
    let program = Program::new("sh", &Account::current()).args(["-c", "echo no luck >&2; exit 3"]);
    let error = run_to_end(&program).await.unwrap_err();
    assert!(
        matches!(&error, ProcessError::Failed { outcome, output, .. }
            if outcome == "exit status: 3" && output.contains("no luck")),
        "{error}"
    );
    let missing = Program::new("/no/such/program", &Account::current());
    let error = run_to_end(&missing).await.unwrap_err();
    assert!(error.to_string().contains("program"), "{error}");
}

#[tokio::test]
async fn a_child_sees_nothing_of_our_environment() -> anyhow::Result<()> {
    let seen = run_to_end(&Program::new("env", &Account::current()).env("GIVEN", "yes")).await?;
    let mut names: Vec<&str> = seen
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["GIVEN", "LC_ALL", "PATH"]);
    Ok(())
}
