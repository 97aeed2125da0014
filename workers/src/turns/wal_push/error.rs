//! Why a slice failed. Each is tried again, later each time, for as long as there is a leader.

use shared::units::Lsn;

/// A push that did not come forward.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    /// The archive has something else there.
    #[error("the archive has other WAL than the leader at {at}: {detail}")]
    Conflict {
        /// Where.
        at: Lsn,
        /// What differs.
        detail: String,
    },
    /// The upload did not work.
    #[error("the WAL at {at} was not stored: {detail}")]
    NotStored {
        /// Where.
        at: Lsn,
        /// What the agent said.
        detail: String,
    },
    /// The upload was not finished in time; the next ones are smaller.
    #[error("the WAL at {at} was not uploaded in time")]
    Slow {
        /// Where.
        at: Lsn,
    },
    /// The agent's answer cannot be.
    #[error("the agent's answer about the WAL at {at} cannot be: {what}")]
    Impossible {
        /// Where.
        at: Lsn,
        /// What is wrong with it.
        what: String,
    },
    /// What PostgreSQL says about itself cannot be used.
    #[error("the agent says of its PostgreSQL what cannot be: {0}")]
    Malformed(String),
    /// The record of an epoch cannot be read.
    #[error("the record of an epoch in the archive cannot be read: {key}")]
    Record {
        /// Name of the object.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The record of an epoch was there and then was not.
    #[error("the record of an epoch in the archive is there and cannot be found: {0}")]
    RecordGone(String),
}
