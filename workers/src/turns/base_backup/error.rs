//! Why a turn of a backup failed. Each is tried again, later each time.

use shared::ids::BackupId;

/// A backup that did not come forward.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupError {
    /// A list said that an object is there, and then it was not.
    #[error("the sentinel of backup {0} is there and cannot be found")]
    SentinelGone(BackupId),
}
