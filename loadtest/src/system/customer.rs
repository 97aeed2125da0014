//! A database as its customer has it.

use anyhow::Context as _;
use reqwest::Url;
use shared::ids::{ResourceId, TimelineId};
use shared::process::{Account, PostgresInstallations, Program, run_to_end};
use shared::secret::Secret;
use shared::units::Lsn;
use sqlx::{Connection as _, PgConnection};

/// How a customer reaches a database.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    pub(crate) id: ResourceId,
    /// The history that its WAL belongs to.
    pub(crate) timeline: TimelineId,
    pub(crate) url: Secret,
}

impl Customer {
    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let connected = PgConnection::connect(self.url.expose()).await;
        connected.context("connect as a customer")
    }

    /// `pgbench` on it, to its end.
    pub(crate) async fn pgbench(&self, arguments: &[&str]) -> anyhow::Result<()> {
        run_to_end(&self.pgbench_program(arguments).await?).await?;
        Ok(())
    }

    /// `pgbench` on it, to be run.
    pub(crate) async fn pgbench_program(&self, arguments: &[&str]) -> anyhow::Result<Program> {
        let installations = PostgresInstallations::discover(&[]).await;
        let pgbench = installations.newest()?.program("pgbench");
        let url = Url::parse(self.url.expose()).context("read the URL of a database")?;
        let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
        // The password must not be seen in the list of processes.
        Ok(Program::new(pgbench, &Account::current())
            .env("PGHOST", part(url.host_str()))
            .env("PGPORT", url.port().unwrap_or_default().to_string())
            .env("PGUSER", url.username())
            .env("PGPASSWORD", part(url.password()))
            .env("PGDATABASE", url.path().trim_start_matches('/'))
            .env("PGSSLMODE", "require")
            .args(arguments))
    }
}

/// Flushed up to here at this moment.
pub(crate) async fn flush_lsn(customer: &mut PgConnection) -> anyhow::Result<Lsn> {
    let text: String = sqlx::query_scalar("select pg_current_wal_flush_lsn()::text")
        .fetch_one(customer)
        .await?;
    Ok(text.parse()?)
}
