//! The work of a transfer.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::agent_api::transfer::{TransferOrder, TransferPhase};
use shared::process::{Account, PostgresBinaries, Program, run_to_end};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::Progress;
use super::contents::{Contents, QUESTION};
use super::ends::Ends;
use super::names::{self, Standing, incoming_name};
use super::room::Room;
use super::said::Said;
use crate::live::{connect_locally, connect_to};
use crate::overriding;
use crate::store::Store;

/// How often it is tried: either end may be restarted meanwhile, which takes a minute or two.
const ATTEMPTS: u32 = 10;

/// Time between two attempts.
const PAUSE: Duration = Duration::from_secs(15);

/// Bytes of a dump that are moved at once.
const PIECE_BYTES: usize = 256 * 1024;

/// How long a copy may take, beside a second for every [`BYTES_A_SECOND`]: what customers have defined
/// runs in it, and may never end.
const TIME_LIMIT: Duration = Duration::from_mins(30);

/// The slowest that a dump is moved where all is well.
const BYTES_A_SECOND: u64 = 1024 * 1024;

/// Bytes of a dump after which the room is looked at again.
const CHECKED_EVERY_BYTES: usize = 16 * 1024 * 1024;

/// How far a database was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    /// All of it is there.
    Whole,
    /// Another database has its name.
    NameTaken,
}

/// Why it makes no sense to try again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Hopeless(pub(super) String);

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
    /// Directory of PostgreSQL's data, on the disk that has to take the database.
    pub(super) data: PathBuf,
    /// Port that is part of the socket's name.
    pub(super) port: u16,
    pub(super) store: Store,
}

impl Work {
    /// Brings the database over, and tells how that ended; or nothing if it is for somebody else to
    /// make room for it, and it is begun anew when it is asked for again.
    pub(super) async fn run(&self, progress: &Progress) -> Option<TransferPhase> {
        let mut attempt = 1;
        loop {
            let error = match self.bring(progress).await {
                Ok(Brought::Whole) => return Some(TransferPhase::Finished),
                Ok(Brought::NameTaken) => {
                    let database = &self.order.database;
                    tracing::error!(database, "a transfer waits: another database has the name");
                    return None;
                }
                Err(error) => error,
            };
            let detail = format!("{error:#}");
            tracing::warn!(attempt, error = detail, "a transfer failed");
            if error.is::<Hopeless>() || attempt == ATTEMPTS {
                return Some(TransferPhase::Failed { detail });
            }
            attempt += 1;
            sleep(PAUSE).await;
        }
    }

    async fn bring(&self, progress: &Progress) -> anyhow::Result<Brought> {
        let order = &self.order;
        hopeless(self.is_wanted(), || "it is not wanted any more".to_owned())?;
        let mut local = connect_locally(&self.sockets, self.port).await?;
        match names::standing(&mut local, order, &self.store).await? {
            Standing::Whole => return Ok(Brought::Whole),
            // To end the copy would be to drop what it is called.
            Standing::Another => return Ok(Brought::NameTaken),
            Standing::Absent => {}
        }
        let contents = self.ask_there().await?;
        let room = Room::of(&self.data);
        room.has(contents.bytes).await?;
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
        let within = TIME_LIMIT + Duration::from_secs(contents.bytes / BYTES_A_SECOND);
        let copied = timeout(within, self.copy(progress, &room)).await;
        let late = || format!("it was not done after {} minutes", within.as_secs() / 60);
        // Both programs are killed with that.
        copied.map_err(|_elapsed| Hopeless(late()))??;
        self.analyze().await;
        let incoming = incoming_name(&order.database);
        contents
            .bring_settings(&mut local, (&incoming, &order.role))
            .await
            .context("bring the settings over")?;
        names::finish(&mut local, order, &self.store).await?;
        local.close().await?;
        Ok(Brought::Whole)
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
    async fn copy(&self, progress: &Progress, room: &Room) -> anyhow::Result<()> {
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
        let moving = async {
            let moved = move_all(&mut dump, &mut restore, (progress, room)).await;
            if moved.as_ref().is_err_and(anyhow::Error::is::<Hopeless>) {
                // Neither would end by itself.
                for child in [&mut dump, &mut restore] {
                    child.start_kill().ok();
                }
            }
            moved
        };
        let (moved, there, here) = tokio::join!(moving, said_there, said_here);
        let (there, here) = (there?, here?);
        if let Err(error) = moved.as_ref()
            && error.is::<Hopeless>()
        {
            return moved;
        }
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

/// Fails for good unless `holds`.
fn hopeless(holds: bool, why: impl FnOnce() -> String) -> Result<(), Hopeless> {
    if holds { Ok(()) } else { Err(Hopeless(why())) }
}

/// Reads what a program complains about, to its end.
fn listen(child: &mut Child) -> anyhow::Result<impl Future<Output = anyhow::Result<Said>> + use<>> {
    let errors = child.stderr.take().context("it has errors")?;
    Ok(Said::read(errors))
}

/// Moves the dump, and tells the restore where it ends.
async fn move_all(
    dump: &mut Child,
    restore: &mut Child,
    (progress, room): (&Progress, &Room),
) -> anyhow::Result<()> {
    let mut from = dump.stdout.take().context("it has an output")?;
    let mut to = restore.stdin.take().context("it has an input")?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut unchecked = 0;
    loop {
        let length = from.read(&mut piece).await.context("read the dump")?;
        if length == 0 {
            break;
        }
        to.write_all(&piece[..length])
            .await
            .context("hand the dump on")?;
        progress.lock().bytes_done += u64::try_from(length)?;
        unchecked += length;
        if unchecked >= CHECKED_EVERY_BYTES {
            unchecked = 0;
            room.has(0).await?;
        }
    }
    to.shutdown().await.context("end the dump")
}

/// The restore is the first to be asked: if it ends, the dump has nobody to write to.
fn judge(
    (dumped, there): (ExitStatus, &Said),
    (restored, here): (ExitStatus, &Said),
) -> anyhow::Result<()> {
    // Killed by the pipe: it was not its own fault.
    let text = if !dumped.success() && dumped.code().is_some() && !restored.success() {
        format!("pg_dump failed ({dumped}): {there}; then pg_restore ({restored}): {here}")
    } else if !restored.success() {
        format!("pg_restore failed ({restored}): {here}")
    } else if !dumped.success() {
        format!("pg_dump failed ({dumped}): {there}")
    } else {
        return Ok(());
    };
    // PostgreSQL said no to what the dump has: it will say so again.
    ensure!(!here.is_no(), Hopeless(text));
    anyhow::bail!(text)
}
