//! Transfers: one database is taken out of an instance that was restored hidden, and brought to the
//! server where it shall be, by a dump.
//!
//! The agent of that server does it, as the owner of the database at both ends: whatever the dump says
//! to run, it runs with no more rights than the owner has.

use serde::{Deserialize, Serialize};

use super::Upstream;
use crate::ids::{ParticipantId, RestoreId};
use crate::secret::Secret;

/// `POST /v1/transfer`: begins a transfer, or tells where it stands. One that was finished is not made
/// again; one that has failed is, when it is asked for in another life of the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferOrder {
    /// The restore that it takes a database out of: its identity.
    pub restore: RestoreId,
    /// Participant that gets the database. Its spec has the role, and not yet the database.
    pub participant: ParticipantId,
    /// Its generation.
    pub generation: u64,
    /// The database, which has the same name at both ends. It gets this name when all of it is there.
    pub database: String,
    /// Its owner, at both ends.
    pub role: String,
    /// Password of the owner, at both ends.
    pub password: Secret,
    /// Where it is taken from.
    pub from: Upstream,
}

/// How a transfer goes or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferStatus {
    /// The restore that it takes a database out of.
    pub restore: RestoreId,
    /// Where it stands.
    pub phase: TransferPhase,
    /// Bytes of the dump that were brought over.
    pub bytes_done: u64,
    /// Size in bytes of the database where it comes from, which is about that of its dump; 0 before
    /// that is known.
    pub bytes_total: u64,
}

/// Where a transfer stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase", deny_unknown_fields)]
pub enum TransferPhase {
    /// Under way.
    Running,
    /// The whole database is there, under its name, on the disk.
    Finished,
    /// It was tried some times in vain. Nothing is there under that name.
    Failed {
        /// Why, for people.
        detail: String,
    },
}
