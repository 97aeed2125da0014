//! The work of a check.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use shared::agent_api::check::{CheckPhase, CheckReport};
use shared::process::{Account, Program};
use shared::units::Lsn;
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::output::{Complaints, progress_in};
use super::{Progress, failed};
use crate::last_lines::LastLines;
use crate::live::connect_to;
use crate::overriding;
use crate::quote::identifier;
use crate::render::BOOTSTRAP_ROLE;

/// Its working directory is that of the sockets: the whole path may be too long for one.
const SOCKETS: &str = "/proc/self/cwd";

/// Exit status of `pg_amcheck` that has found something wrong.
const FOUND_CORRUPTION: i32 = 2;

/// Databases, and whether they take sessions: but for the template that nobody may change, and for one
/// whose drop was interrupted.
const DATABASES: &str = "
    select datname::text, datallowconn
    from pg_catalog.pg_database
    where datname <> 'template0' and datconnlimit <> -2
    order by datname";

/// Reads each sequence. `pg_amcheck` has read every page of every table and of every B-tree, so they
/// are not read once more; what it leaves out is whether a new session gets in at all, and sequences.
///
/// Every name is that of PostgreSQL's own: customers make functions and operators of the same names.
const SEQUENCES: &str = "
    select pg_catalog.count(pg_catalog.pg_sequence_last_value(classes.oid::pg_catalog.regclass))
    from pg_catalog.pg_class as classes
    where classes.relkind operator(pg_catalog.=) 'S'::pg_catalog.\"char\"";

/// Class of the errors that say that data is damaged, or that PostgreSQL is.
const DAMAGE: &str = "XX";

/// A check that was ordered.
#[derive(Debug)]
pub(super) struct Work {
    /// `pg_amcheck` of the version that runs.
    pub(super) program: PathBuf,
    /// Major version of PostgreSQL.
    pub(super) major: u16,
    /// Whom it runs as.
    pub(super) account: Account,
    /// Directory of PostgreSQL's socket.
    pub(super) sockets: PathBuf,
    /// Port that is part of the socket's name.
    pub(super) port: u16,
    /// Where the history of the instance begins.
    pub(super) began_at: Lsn,
}

impl Work {
    /// Checks everything, and tells how that ended.
    pub(super) async fn run(&self, progress: &Progress) -> CheckPhase {
        match self.check(progress).await {
            Ok(report) => CheckPhase::Finished(report),
            Err(error) => failed(format!("{error:#}")),
        }
    }

    async fn check(&self, progress: &Progress) -> anyhow::Result<CheckReport> {
        ensure!(
            self.program.is_file(),
            "pg_amcheck is not installed for PostgreSQL {}: there is no {}",
            self.major,
            self.program.display()
        );
        let mut complaints = Complaints::default();
        let databases = self.look_into_each(&mut complaints).await?;
        self.run_amcheck(progress, &mut complaints).await?;
        let relations = progress.lock().relations_total;
        ensure!(relations > 0, "pg_amcheck has found nothing to check");
        let (complaints, complaints_total) = complaints.into_parts();
        Ok(CheckReport {
            began_at: self.began_at,
            databases,
            relations,
            complaints_total,
            complaints,
        })
    }

    /// A session in each database. Gives their number.
    async fn look_into_each(&self, complaints: &mut Complaints) -> anyhow::Result<u32> {
        let mut connection = self.connect("postgres").await?;
        let databases: Vec<(String, bool)> = sqlx::query_as(DATABASES)
            .fetch_all(&mut connection)
            .await
            .context("list the databases")?;
        for (database, _) in databases.iter().filter(|(_, is_open)| !is_open) {
            // This is nobody's instance: what its owner has closed is opened.
            let open = format!(
                "alter database {} with allow_connections true",
                identifier(database)
            );
            let opened = sqlx::query(sqlx::AssertSqlSafe(open))
                .execute(&mut connection)
                .await;
            opened.with_context(|| format!("open the database {database:?}"))?;
        }
        connection.close().await?;
        for (database, _) in &databases {
            let Err(error) = self.look_into(database).await else {
                continue;
            };
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            if !code.is_some_and(|code| code.starts_with(DAMAGE)) {
                let what = format!("look into the database {database:?}");
                return Err(error).context(what);
            }
            complaints.add(&format!("database {database:?}:"));
            complaints.add(&format!("    {error}"));
        }
        Ok(u32::try_from(databases.len())?)
    }

    async fn connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        let at = (self.sockets.as_path(), self.port);
        connect_to(at, database, &overriding::settings(self.major)).await
    }

    async fn look_into(&self, database: &str) -> sqlx::Result<()> {
        let mut connection = self.connect(database).await?;
        let _: i64 = sqlx::query_scalar(SEQUENCES)
            .fetch_one(&mut connection)
            .await?;
        connection.close().await
    }

    async fn run_amcheck(
        &self,
        progress: &Progress,
        complaints: &mut Complaints,
    ) -> anyhow::Result<()> {
        let mut child = self.amcheck().pipe().await?;
        let output = child.stdout.take().context("it has an output")?;
        let errors = child.stderr.take().context("it has errors")?;
        let mut last = LastLines::default();
        let reading = each_line(output, |line| complaints.add(line));
        let watching = each_line(errors, |line| match progress_in(line) {
            Some(seen) => {
                let mut status = progress.lock();
                (status.relations_done, status.relations_total) = (seen.done, seen.total);
                status.pages_done = seen.pages_done;
            }
            None => last.add(line),
        });
        let (read, watched) = tokio::join!(reading, watching);
        read.and(watched).context("read what pg_amcheck says")?;
        let status = child.wait().await.context("wait for pg_amcheck")?;
        let is_told = status.success() || status.code() == Some(FOUND_CORRUPTION);
        ensure!(is_told, "pg_amcheck failed ({status}): {last}");
        ensure!(
            status.success() || complaints.has_said_something(),
            "pg_amcheck says that something is corrupt, and not what: {last}"
        );
        Ok(())
    }

    /// All that it can check: tables with their TOAST, each index against its table, and each entry
    /// from the root on.
    fn amcheck(&self) -> Program {
        Program::new(&self.program, &self.account)
            .directory(&self.sockets)
            .args(["--host", SOCKETS, "--port", &self.port.to_string()])
            .args(["--username", BOOTSTRAP_ROLE, "--no-password"])
            .args(["--all", "--install-missing", "--jobs", "2", "--progress"])
            .args(["--heapallindexed", "--rootdescend"])
            // With the codes of errors.
            .arg("--verbose")
            .env("PGOPTIONS", overriding::options(self.major))
            .env("PGAPPNAME", "ringmaster-agent")
    }
}

async fn each_line(
    output: impl AsyncRead + Unpin,
    mut take: impl FnMut(&str),
) -> std::io::Result<()> {
    let mut lines = BufReader::new(output).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        take(&String::from_utf8_lossy(&line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use shared::agent_api::check::CheckStatus;
    use shared::ids::ProofId;

    use super::*;

    #[tokio::test]
    async fn a_program_that_is_not_installed_is_named() {
        let work = Work {
            program: "/nowhere/bin/pg_amcheck".into(),
            major: 15,
            account: Account::current(),
            sockets: "/nowhere".into(),
            port: 5432,
            began_at: Lsn::default(),
        };
        let progress = Progress(Mutex::new(CheckStatus {
            proof: ProofId::new(),
            phase: CheckPhase::Running,
            relations_done: 0,
            relations_total: 0,
            pages_done: 0,
        }));
        let expected = failed(
            "pg_amcheck is not installed for PostgreSQL 15: there is no /nowhere/bin/pg_amcheck",
        );
        assert_eq!(work.run(&progress).await, expected);
    }
}
