//! The manifest of a base backup: which files there are, and in which pieces.
//!
//! The files are packed into *parts*, each a tar stream of its own, so that parts are made and
//! unpacked in parallel. A part is cut into *pieces*, each an object; pieces are numbered through
//! the whole backup. By hand: `cat` the pieces of a part in order, `zstd -d`, `tar -x`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::layout::Run;
use crate::ids::{BackupId, TimelineId};
use crate::units::Lsn;

/// Everything that is needed to restore a base backup, beside its pieces and the WAL after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The backup.
    pub backup: BackupId,
    /// Timeline it is of.
    pub timeline: TimelineId,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
    /// Epoch and `tli` it was taken on.
    pub run: Run,
    /// Replay begins here.
    pub start_lsn: Lsn,
    /// The cluster is consistent from here on: no target may lie before.
    pub stop_lsn: Lsn,
    /// Moment the backup began, by the clock of its server.
    pub started_at: DateTime<Utc>,
    /// No target in time may lie before, by the clock of the leader: the moment it was complete; of
    /// one that was taken from a follower the moment of the last commit in it, which may be long
    /// before the backup began.
    pub stopped_at: DateTime<Utc>,
    /// Version of PostgreSQL, as in `server_version`.
    pub postgres_version: String,
    /// Bytes of a WAL segment.
    pub wal_segment_bytes: u64,
    /// Content of `backup_label`, to be written into the restored directory.
    pub backup_label: String,
    /// Directories below the data directory, parents first; also empty ones.
    pub directories: Vec<String>,
    /// The parts.
    pub parts: Vec<Part>,
    /// Pages whose checksum was wrong, `path:block`; the first hundred.
    pub damaged_pages: Vec<String>,
}

/// A tar stream and the pieces that it was cut into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Numbers of its pieces, in order.
    pub pieces: Vec<u32>,
    /// Bytes of the tar stream.
    pub bytes: u64,
    /// Its files, in the order of the stream.
    pub files: Vec<File>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path below the data directory.
    pub path: String,
    /// Its bytes in the backup.
    pub bytes: u64,
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let files = self.parts.iter().flat_map(|part| &part.files);
        files.map(|file| file.bytes).sum()
    }
}
