//! The PostgreSQL that an agent runs, filled and asked by its superuser over the local socket.

use std::path::PathBuf;

use anyhow::Context as _;
use shared::process::{Account, PostgresInstallations, Program, run_to_end};
use shared::units::Lsn;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

/// The superuser that the agent makes, whom only local programs can be.
pub(crate) const SUPERUSER: &str = "postgres";

/// How it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    pub(crate) sockets: PathBuf,
    pub(crate) port: u16,
}

/// A connection, which ends when this is dropped.
pub(crate) struct Session {
    client: Client,
    _driving: JoinSet<()>,
}

impl Postgres {
    pub(crate) async fn connect(&self) -> anyhow::Result<Session> {
        let socket = self.sockets.join(format!(".s.PGSQL.{}", self.port));
        let stream = UnixStream::connect(socket).await?;
        let (client, connection) = Config::new()
            .user(SUPERUSER)
            .dbname("postgres")
            .connect_raw(stream, NoTls)
            .await
            .context("connect to PostgreSQL")?;
        let mut driving = JoinSet::new();
        driving.spawn(async move { drop(connection.await) });
        Ok(Session {
            client,
            _driving: driving,
        })
    }

    /// `pgbench` on it.
    pub(crate) async fn pgbench(&self, arguments: &[&str]) -> anyhow::Result<String> {
        Ok(run_to_end(&self.pgbench_program(arguments).await?).await?)
    }

    /// `pgbench`, to be run.
    pub(crate) async fn pgbench_program(&self, arguments: &[&str]) -> anyhow::Result<Program> {
        let installations = PostgresInstallations::discover(&[]).await;
        let pgbench = installations.newest()?.program("pgbench");
        Ok(Program::new(pgbench, &Account::current())
            .arg("--host")
            .arg(&self.sockets)
            .args(["--port", &self.port.to_string()])
            .args(["--username", SUPERUSER])
            .args(arguments)
            .arg("postgres"))
    }
}

impl Session {
    /// Runs statements.
    pub(crate) async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let run = self.client.batch_execute(sql).await;
        run.with_context(|| format!("run {sql:?}"))
    }

    /// The only value of the only row that a query answers.
    pub(crate) async fn text(&self, sql: &str) -> anyhow::Result<String> {
        let row = self.client.query_one(sql, &[]).await;
        let row = row.with_context(|| format!("run {sql:?}"))?;
        Ok(row.try_get(0)?)
    }

    /// Flushed up to here at this moment.
    pub(crate) async fn flush_lsn(&self) -> anyhow::Result<Lsn> {
        let text = self.text("select pg_current_wal_flush_lsn()::text").await?;
        Ok(text.parse()?)
    }
}
