//! Restoring: a base backup and WAL, from the archive into a data directory and PostgreSQL.
//!
//! ```text
//!  wants ◀──status──┐                         ┌──▶ data.unfinished ──sync, rename──▶ data
//!  reads ──────▶ board ──▶ manifest, pieces ──┘                                       │
//!                  └─────▶ WAL ──▶ segments, cut ──rename──▶ pg_wal ◀──restore_command─┘
//! ```
//!
//! Guarantees:
//! - Nothing damaged is used: each object is checked by its own checksum and label, each file by the
//!   manifest. What is damaged or gone ends the restore, and is named.
//! - The data directory gets its name when all of it is on the disk, and an agent that is killed
//!   goes on with what is in place.
//! - PostgreSQL is told "there is no more" only where the spec says that the history ends. Whatever
//!   else happens – errors, silence, an object that is not there – is waited for, or ends recovery
//!   with an error.
//! - WAL behind the cut of a leg is never shown to PostgreSQL.
//! - The instance serves nobody before it is certain that the target was reached.
//!
//! What is in memory at once is bounded by the [`Archive`](crate::archive::Archive).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::agent_api::restore::{
    ArchiveReads, PIECES_WANTED_MAX, RestoreStage, RestoreStatus, Restored,
};
use shared::agent_api::wal::Signed;
use shared::units::Lsn;
use tokio::sync::Notify;

mod command;
mod coverage;
mod ending;
mod feeding;
mod fetching;
mod flushing;
mod journal;
mod limits;
mod objects;
mod serving;
mod unpacking;

pub(crate) use command::{COMMAND, STANDBY, run as run_command};
use coverage::Coverage;
pub(crate) use ending::{Outcome, check as check_ending, check_promotion, judge_log};
pub(crate) use fetching::{Fetching, manifest_of};
pub(crate) use limits::too_low_settings;
pub(crate) use serving::{SOCKET, Serving};

/// What is read for a restore, and how it goes. Shared by who fetches, who serves, and the status.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    /// Something has changed that somebody waits for.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_replaying: bool,
    /// PostgreSQL is to end its replay where it is.
    is_promoting: bool,
    failed: Option<Failed>,
    bytes_done: u64,
    bytes_total: u64,
    manifest: Reading,
    /// Pieces that are needed now or soon, without a request for them.
    wanted: BTreeSet<u32>,
    pieces: BTreeMap<u32, Signed>,
    wal: Coverage,
    fetched_lsn: Option<Lsn>,
    replay_lsn: Option<Lsn>,
    trouble: Option<String>,
}

/// Whether the manifest can be read.
#[derive(Debug, Default)]
enum Reading {
    #[default]
    NotNeeded,
    Wanted,
    Signed(Signed),
}

/// Why a restore does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The incarnation in which it failed: another one tries again.
    pub(crate) incarnation: u64,
    pub(crate) detail: String,
}

impl Board {
    /// The status of a restore, given where it ended if it has.
    pub(crate) fn status(&self, restored: Option<Restored>) -> RestoreStatus {
        let state = self.lock();
        let stage = match (restored, &state.failed) {
            (Some(restored), _) => RestoreStage::Finished(restored),
            (None, Some(failed)) => RestoreStage::Failed {
                detail: failed.detail.clone(),
            },
            (None, None) if state.is_replaying => RestoreStage::Replaying,
            (None, None) => RestoreStage::Fetching,
        };
        let is_under_way = matches!(stage, RestoreStage::Fetching | RestoreStage::Replaying);
        let wanted = state.wanted.iter().filter(|_| is_under_way);
        RestoreStatus {
            stage,
            bytes_done: state.bytes_done,
            bytes_total: state.bytes_total,
            wants_manifest: is_under_way && matches!(state.manifest, Reading::Wanted),
            wants_pieces: wanted.take(PIECES_WANTED_MAX).copied().collect(),
            wants_wal: state.wal.wanted().filter(|_| is_under_way),
            fetched_lsn: state.fetched_lsn,
            replay_lsn: state.replay_lsn,
            trouble: state.trouble.clone().filter(|_| is_under_way),
        }
    }

    /// Takes requests that a worker signed.
    pub(crate) fn bring(&self, reads: ArchiveReads) {
        let mut state = self.lock();
        if let Some(manifest) = reads.manifest
            && matches!(state.manifest, Reading::Wanted)
        {
            state.manifest = Reading::Signed(manifest);
        }
        for (number, piece) in reads.pieces {
            if state.wanted.remove(&number) {
                state.pieces.insert(number, piece);
            }
        }
        if let Some(wal) = reads.wal {
            state.wal.bring(wal);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Ends the restore, for this incarnation. The first reason stays.
    pub(crate) fn fail(&self, incarnation: u64, detail: String) {
        let mut state = self.lock();
        if state.failed.is_none() {
            tracing::error!(error = detail, "the restore has failed");
            state.failed = Some(Failed {
                incarnation,
                detail,
            });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Why it does not go on in this incarnation; another one tries again.
    pub(crate) fn failure(&self, incarnation: u64) -> Option<String> {
        let mut state = self.lock();
        state.failed = state
            .failed
            .take()
            .filter(|failed| failed.incarnation == incarnation);
        state.failed.as_ref().map(|failed| failed.detail.clone())
    }

    /// Notes what does not work at the moment, for people; none when it works again.
    fn note_trouble(&self, trouble: Option<String>) {
        let mut state = self.lock();
        if state.trouble != trouble
            && let Some(trouble) = &trouble
        {
            tracing::warn!(error = trouble, "the archive does not give what is needed");
        }
        state.trouble = trouble;
    }

    /// The files are fetched, from the beginning or where an earlier attempt ended.
    fn begin_fetching(&self) {
        *self.lock() = State::default();
    }

    /// WAL is replayed: all `bytes` of files are in place.
    fn begin_replay(&self, bytes: u64) {
        *self.lock() = State {
            is_replaying: true,
            bytes_done: bytes,
            bytes_total: bytes,
            ..State::default()
        };
    }

    /// From now on PostgreSQL gets no more WAL, and waits for none.
    pub(crate) fn begin_promotion(&self) {
        self.lock().is_promoting = true;
        self.changed.notify_waiters();
    }

    /// Waits until PostgreSQL is to end its replay.
    async fn promotion(&self) {
        self.until(|state| state.is_promoting.then_some(())).await;
    }

    /// Waits until `ready` gives something.
    async fn until<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From now on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = ready(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
