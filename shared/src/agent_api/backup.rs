//! Base backups: the agent reads its PostgreSQL's files and uploads them in pieces.
//!
//! The worker signs places for pieces as they are needed: each call may bring more, and the status
//! says which are wanted. The worker writes the sentinel when the agent has finished; a backup
//! without one never was. An agent that is killed has lost its backup: the worker begins another.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::wal::Signed;
use crate::archive::layout::Run;
use crate::ids::{BackupId, ParticipantId, TimelineId};
use crate::units::Lsn;

/// Most places that a status asks for.
pub const PLACES_WANTED_MAX: usize = 64;

/// `PUT /v1/backup`: begins the backup, or brings more places for its pieces. Another backup than
/// the one in progress ends that one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupOrder {
    /// The backup.
    pub backup: BackupId,
    /// Participant whose files they are.
    pub participant: ParticipantId,
    /// Its generation, as the worker knows it: an agent that holds another one refuses.
    pub generation: u64,
    /// Timeline it is of.
    pub timeline: TimelineId,
    /// `system_identifier` of the cluster: an agent of another cluster refuses.
    pub system_identifier: u64,
    /// Epoch and `tli` it is on.
    pub run: Run,
    /// Places for pieces by number (≥ 1); a number that came before is signed anew.
    pub pieces: BTreeMap<u32, WritePlace>,
    /// Place for the manifest, likewise.
    pub manifest: WritePlace,
}

/// A place in the archive for an object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WritePlace {
    /// Writes there if nothing is there yet.
    pub put: Signed,
    /// Reads what is there: an upload whose answer was lost is only known from it.
    pub get: Signed,
}

/// What `PUT` and `GET /v1/backup` answer; null before the first backup of this agent's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// The backup.
    pub backup: BackupId,
    /// Where it stands.
    pub phase: BackupPhase,
    /// Bytes of files that were read and uploaded.
    pub bytes_done: u64,
    /// Bytes of all files, as listed when it began.
    pub bytes_total: u64,
    /// Bytes of the objects written.
    pub object_bytes: u64,
    /// Number of the last piece that was begun; 0 before the first.
    pub pieces_begun: u32,
    /// Numbers of pieces that it needs places for now or soon, also ones whose place was refused,
    /// for example because it had expired; at most [`PLACES_WANTED_MAX`].
    pub wants_pieces: Vec<u32>,
    /// Whether the place for the manifest was refused, and another one is needed.
    pub wants_manifest: bool,
}

/// Where a backup stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase", deny_unknown_fields)]
pub enum BackupPhase {
    /// Under way.
    Running,
    /// Everything is uploaded, also the manifest.
    Finished {
        /// Replay begins here.
        start_lsn: Lsn,
        /// Consistent from here on.
        stop_lsn: Lsn,
        /// Moment it began.
        started_at: DateTime<Utc>,
        /// Moment it was complete.
        stopped_at: DateTime<Utc>,
        /// Pages whose checksum was wrong.
        damaged_pages: u64,
    },
    /// It will not be finished.
    Failed {
        /// Why, for people.
        detail: String,
    },
}
