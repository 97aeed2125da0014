//! The work of a transfer.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use shared::agent_api::transfer::{TransferOrder, TransferPhase};
use shared::process::{Account, PostgresBinaries, Program, run_to_end};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::Child;
use tokio::time::sleep;

use super::Progress;
use super::contents::{Contents, QUESTION};
use super::ends::Ends;
use super::names::{self, Standing, incoming_name};
use crate::last_lines::LastLines;
use crate::live::{connect_locally, connect_to};
use crate::overriding;
use crate::store::Store;

/// How often it is tried: either end may be restarted meanwhile.
const ATTEMPTS: u32 = 3;

/// Time between two attempts.
const PAUSE: Duration = Duration::from_secs(5);

/// Bytes of a dump that are moved at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A transfer that was ordered.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) order: TransferOrder,
    pub(super) ends: Ends,
    /// Programs of the version that runs here.
    pub(super) binaries: PostgresBinaries,
    /// Whom they run as.
    pub(super) account: Account,
    /// Directory of PostgreSQL's socket.
    pub(super) sockets: PathBuf,
    /// Port that is part of the socket's name.
    pub(super) port: u16,
    pub(super) store: Store,
}

impl Work {
    /// Brings the database over, and tells how that ended.
    pub(super) async fn run(&self, progress: &Progress) -> TransferPhase {
        let mut attempt = 1;
        loop {
            let Err(error) = self.bring(progress).await else {
                return TransferPhase::Finished;
            };
            let detail = format!("{error:#}");
            tracing::warn!(attempt, error = detail, "a transfer failed");
            if attempt == ATTEMPTS {
                return TransferPhase::Failed { detail };
            }
            attempt += 1;
            sleep(PAUSE).await;
        }
    }

    async fn bring(&self, progress: &Progress) -> anyhow::Result<()> {
        let order = &self.order;
        ensure!(self.is_wanted(), "it is not wanted any more");
        let mut local = connect_locally(&self.sockets, self.port).await?;
        if names::standing(&mut local, order, &self.store).await? == Standing::Whole {
            return Ok(());
        }
        let contents = self.ask_there().await?;
        {
            let mut status = progress.lock();
            (status.bytes_done, status.bytes_total) = (0, contents.bytes);
        }
        names::make_empty(&mut local, order)
            .await
            .context("make the database")?;
        if !contents.has_public {
            self.drop_public().await.context("drop the schema public")?;
        }
        self.copy(progress).await?;
        self.analyze().await;
        let incoming = incoming_name(&order.database);
        contents
            .bring_settings(&mut local, (&incoming, &order.role))
            .await
            .context("bring the settings over")?;
        names::finish(&mut local, order, &self.store).await?;
        local.close().await?;
        Ok(())
    }

    /// Whether the newest instruction still has the owner of the database: a copy that was destroyed on
    /// its way is not begun again.
    fn is_wanted(&self) -> bool {
        let state = self.store.get();
        let held = state.instruction.as_ref().map(|held| &held.spec);
        held.is_some_and(|spec| spec.roles.iter().any(|role| role.name == self.order.role))
    }

    async fn ask_there(&self) -> anyhow::Result<Contents> {
        let question = self
            .program("psql", &self.ends.there)
            .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet"])
            .args(["--command", QUESTION]);
        let answer = run_to_end(&question)
            .await
            .context("ask for what is to be brought over")?;
        serde_json::from_str(&answer).context("understand what is to be brought over")
    }

    async fn drop_public(&self) -> sqlx::Result<()> {
        let incoming = incoming_name(&self.order.database);
        let settings = overriding::settings(self.binaries.version.major);
        let at = (self.sockets.as_path(), self.port);
        let mut connection: PgConnection = connect_to(at, &incoming, &settings).await?;
        sqlx::raw_sql("drop schema if exists public")
            .execute(&mut connection)
            .await?;
        connection.close().await
    }

    /// Dumps there and restores here, at once.
    async fn copy(&self, progress: &Progress) -> anyhow::Result<()> {
        let mut dump = self
            .program("pg_dump", &self.ends.there)
            .args(["--format=custom", "--compress=0", "--no-password"])
            .pipe()
            .await?;
        let mut restore = self
            .program("pg_restore", &self.ends.here)
            .args([
                "--exit-on-error",
                "--no-owner",
                "--no-tablespaces",
                "--no-password",
            ])
            .pipe_both()
            .await?;
        let (said_there, said_here) = (listen(&mut dump)?, listen(&mut restore)?);
        let moving = move_all(&mut dump, &mut restore, progress);
        let (moved, there, here) = tokio::join!(moving, said_there, said_here);
        let (there, here) = (there?, here?);
        let dumped = dump.wait().await.context("wait for pg_dump")?;
        let restored = restore.wait().await.context("wait for pg_restore")?;
        judge((dumped, &there), (restored, &here))?;
        moved.context("move the dump")
    }

    /// Plans are bad before anybody has looked at what is there; PostgreSQL would do it within minutes.
    async fn analyze(&self) {
        let analyze = self.program("psql", &self.ends.here).args([
            "--no-psqlrc",
            "--quiet",
            "--command",
            "analyze",
        ]);
        if let Err(error) = run_to_end(&analyze).await {
            tracing::warn!(%error, "what was brought over could not be analyzed");
        }
    }

    /// A program of PostgreSQL in a session of the owner at an `end`.
    fn program(&self, name: &str, end: &str) -> Program {
        let options = overriding::options(self.binaries.version.major);
        Program::new(self.binaries.program(name), &self.account)
            .args(["--dbname", end])
            .env("PGPASSWORD", self.order.password.expose())
            .env("PGAPPNAME", "ringmaster-agent")
            // The end of it is durable, and everything before it with that.
            .env("PGOPTIONS", format!("{options} -c synchronous_commit=off"))
    }
}

/// Reads what a program complains about, to its end.
fn listen(
    child: &mut Child,
) -> anyhow::Result<impl Future<Output = anyhow::Result<LastLines>> + use<>> {
    let errors = child.stderr.take().context("it has errors")?;
    Ok(last_lines(errors))
}

async fn last_lines(errors: impl AsyncRead + Unpin) -> anyhow::Result<LastLines> {
    let (mut last, mut lines) = (LastLines::default(), BufReader::new(errors).split(b'\n'));
    while let Some(line) = lines.next_segment().await.context("read what is said")? {
        last.add(&String::from_utf8_lossy(&line));
    }
    Ok(last)
}

/// Moves the dump, and tells the restore where it ends.
async fn move_all(
    dump: &mut Child,
    restore: &mut Child,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut from = dump.stdout.take().context("it has an output")?;
    let mut to = restore.stdin.take().context("it has an input")?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await.context("read the dump")?;
        if length == 0 {
            break;
        }
        to.write_all(&piece[..length])
            .await
            .context("hand the dump on")?;
        progress.lock().bytes_done += u64::try_from(length)?;
    }
    to.shutdown().await.context("end the dump")
}

/// The restore is the first to be asked: if it ends, the dump has nobody to write to.
fn judge(
    (dumped, there): (ExitStatus, &LastLines),
    (restored, here): (ExitStatus, &LastLines),
) -> anyhow::Result<()> {
    // Killed by the pipe: it was not its own fault.
    if !dumped.success() && dumped.code().is_some() && !restored.success() {
        bail!("pg_dump failed ({dumped}): {there}; then pg_restore ({restored}): {here}");
    }
    ensure!(restored.success(), "pg_restore failed ({restored}): {here}");
    ensure!(dumped.success(), "pg_dump failed ({dumped}): {there}");
    Ok(())
}
