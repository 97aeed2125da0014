//! Base backups.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::db::archive as stored;
use crate::domain::{BackupReason, BackupState};
use crate::ids::BackupId;
use crate::units::Lsn;

/// A copy of a whole server that a restore begins from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backup {
    /// Id of the backup.
    pub id: BackupId,
    /// Under way or finished.
    pub state: BackupState,
    /// Why it was begun.
    pub reason: BackupReason,
    /// Whether it is of a server that other databases are on too: it holds theirs as well.
    pub shared: bool,
    /// Whether it is taken from a follower, and not from the leader.
    #[serde(default)]
    pub from_follower: bool,
    /// Replay begins here; null while it runs.
    #[schema(value_type = Option<String>, example = "0/3000028")]
    pub start_lsn: Option<Lsn>,
    /// First position that can be restored from it; null while it runs.
    #[schema(value_type = Option<String>, example = "0/3000138")]
    pub stop_lsn: Option<Lsn>,
    /// First moment that can be restored from it, by the clock of the leader; null while it runs.
    pub stopped_at: Option<DateTime<Utc>>,
    /// Bytes of files that are in the archive.
    pub bytes_done: u64,
    /// Bytes of all files; null before they are listed.
    pub bytes_total: Option<u64>,
    /// Bytes of its objects in the archive; null while it runs.
    pub stored_bytes: Option<u64>,
    /// Pages whose checksum was wrong, counted up to a hundred; null while it runs.
    pub damaged_pages: Option<u64>,
    /// Moment it was begun.
    pub started_at: DateTime<Utc>,
    /// Moment it was known to be complete; null while it runs.
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<stored::Backup> for Backup {
    fn from(backup: stored::Backup) -> Self {
        Self {
            id: backup.id,
            state: backup.state,
            reason: backup.reason,
            shared: backup.is_shared,
            from_follower: backup.is_of_follower,
            start_lsn: backup.start_lsn,
            stop_lsn: backup.stop_lsn,
            stopped_at: backup.stopped_at,
            bytes_done: backup.bytes_done.unsigned_abs(),
            bytes_total: Some(backup.bytes_total.unsigned_abs()).filter(|bytes| *bytes > 0),
            stored_bytes: backup.stored_bytes.map(i64::unsigned_abs),
            damaged_pages: backup.damaged_pages.map(i64::unsigned_abs),
            started_at: backup.started_at,
            finished_at: backup.finished_at,
        }
    }
}
