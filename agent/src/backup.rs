//! Base backups: PostgreSQL's files into the archive, while it runs.
//!
//! ```text
//!  order ──▶ pg_backup_start ──▶ list ──▶ pack ──▶ parts, several at once ──▶ pg_backup_stop ──▶ manifest
//!    │                                              │  tar, pages checked
//!    └─▶ places ──────────────────────────────────▶ └▶ pieces ──▶ PUT if absent
//! ```
//!
//! Guarantees:
//! - What is in a finished backup, with the WAL from its start to its stop, is a consistent cluster:
//!   files are read while they change, and WAL repairs what was torn.
//! - Nothing is kept of a backup in this machine. PostgreSQL forgets one whose session ends, and so
//!   do we: an agent that is killed, or a newer order, ends it for good. An order for an older one
//!   that comes late ends nothing.
//! - A follower is backed up like a leader, as far as it has replayed. One that is promoted
//!   meanwhile has no backup.
//! - Memory is bounded whatever the size of the database, and apart from that for WAL.
//!
//! Pages whose checksum is wrong are reported, and backed up as they are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::agent_api::backup::{BackupOrder, BackupPhase, BackupStatus};
use shared::agent_api::{Refusal, RefusalCode};
use shared::ids::BackupId;
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::agent::Agent;
use crate::archive::Archive;
use crate::board::Running;
use crate::held::{is_held, is_this_history};
use crate::live::History;

mod listing;
mod packing;
mod pages;
mod places;
mod progress;
mod session;
mod tar_stream;
mod uploading;
mod work;

use progress::Progress;
use work::Work;

/// Longest time that PostgreSQL is given to say what it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// The backup in progress, or the last one.
#[derive(Debug)]
pub(crate) struct Backups {
    archive: Arc<Archive>,
    current: Mutex<Option<Current>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Current {
    progress: Arc<Progress>,
    /// Ends the work when it is dropped.
    _ending: DropGuard,
}

impl Backups {
    /// None yet. Objects go by `archive`.
    pub(crate) fn new(archive: Archive) -> Self {
        Self {
            archive: Arc::new(archive),
            current: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Where the newest backup stands; none before the first.
    pub(crate) fn status(&self) -> Option<BackupStatus> {
        let current = self.lock();
        current.as_ref().map(|current| current.progress.status())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings places to a backup that is known; none if it is another one.
    fn bring(&self, order: &BackupOrder) -> Option<BackupStatus> {
        let current = self.lock();
        let progress = &current.as_ref()?.progress;
        if progress.backup() != order.backup {
            return None;
        }
        progress.places.bring(order);
        Some(progress.status())
    }

    /// Begins a backup, and ends the one in progress, unless that is newer: ids are in the order in
    /// which they were made. One that has ended is in nobody's way.
    ///
    /// # Errors
    /// The newer one.
    fn begin(
        &self,
        agent: &Agent,
        running: Running,
        history: &History,
        order: BackupOrder,
    ) -> Result<(), BackupId> {
        let backup = order.backup;
        let progress = Arc::new(Progress::new(&order));
        let stop = CancellationToken::new();
        let work = Work {
            archive: Arc::clone(&self.archive),
            progress: Arc::clone(&progress),
            sockets: agent.paths.sockets(),
            data: agent.paths.data(),
            running,
            segment_bytes: history.segment_bytes,
            order,
        };
        let mut current = self.lock();
        let newer = current.as_ref().map(|current| current.progress.status());
        let newer =
            newer.filter(|status| status.phase == BackupPhase::Running && status.backup > backup);
        if let Some(newer) = newer {
            return Err(newer.backup);
        }
        *current = Some(Current {
            progress: Arc::clone(&progress),
            _ending: stop.clone().drop_guard(),
        });
        drop(current);
        let span = tracing::info_span!("backup", backup.id = %backup);
        self.tasks.spawn(
            async move {
                // Whatever happens to the work: the status does not say for ever that it goes on.
                let ending = Ending(progress);
                tracing::info!(at = "start", "backup");
                let phase = tokio::select! {
                    phase = Arc::new(work).run() => phase,
                    () = stop.cancelled() => failed("another backup was ordered"),
                };
                ending.end(phase);
            }
            .instrument(span),
        );
        Ok(())
    }
}

/// Notes the end of a backup.
struct Ending(Arc<Progress>);

impl Ending {
    fn end(&self, phase: BackupPhase) {
        match &phase {
            BackupPhase::Failed { detail } => {
                tracing::error!(at = "finish", error = detail, "backup failed");
            }
            BackupPhase::Running | BackupPhase::Finished { .. } => {
                tracing::info!(at = "finish", ?phase, "backup");
            }
        }
        self.0.end(phase);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.0.status().phase == BackupPhase::Running {
            self.end(failed("the work on it was lost"));
        }
    }
}

fn failed(detail: &str) -> BackupPhase {
    BackupPhase::Failed {
        detail: detail.to_owned(),
    }
}

/// Begins the backup of an order, or brings its places to the one that is under way.
///
/// # Errors
/// [`Refusal`] if the order is about something else than what is here; then nothing was changed.
pub(crate) async fn order(agent: &Agent, order: BackupOrder) -> Result<BackupStatus, Refusal> {
    let known = agent.store.get();
    let refuse = |(code, message)| Refusal {
        code,
        message,
        generation: known.generation(),
    };
    let held = known.instruction.as_ref().map(|held| &held.spec);
    is_held((order.participant, order.generation), held).map_err(refuse)?;
    if let Some(status) = agent.backups.bring(&order) {
        return Ok(status);
    }
    let silent = |message| refuse((RefusalCode::NotRunning, message));
    let running = agent.board.facts().running;
    let running = running.ok_or_else(|| silent("PostgreSQL does not run".to_owned()))?;
    let sockets = agent.paths.sockets();
    let history = agent
        .sampler
        .history((&sockets, &running), Instant::now() + PATIENCE)
        .await
        .map_err(|silence| silent(silence.to_string()))?;
    is_this_history((order.system_identifier, order.run), &history.writer).map_err(refuse)?;
    // Two orders of one backup at once: the second finds what the first began.
    if let Some(status) = agent.backups.bring(&order) {
        return Ok(status);
    }
    let backup: BackupId = order.backup;
    let begun = agent.backups.begin(agent, running, &history, order);
    begun.map_err(|newer| {
        let message = format!("backup {backup} is older than {newer}, which is in progress");
        refuse((RefusalCode::OldGeneration, message))
    })?;
    let status = agent.backups.status();
    let status = status.filter(|status| status.backup == backup);
    status.ok_or_else(|| silent("another backup was ordered".to_owned()))
}
