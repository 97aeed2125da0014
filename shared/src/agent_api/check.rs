//! Checks of a restored instance: `pg_amcheck` over all its databases, and a look at each.
//!
//! Checking installs an extension, so an instance of a customer is never checked: the agent refuses
//! one whose spec has a database, and a follower.

use serde::{Deserialize, Serialize};

use crate::ids::{ParticipantId, ProofId};
use crate::units::Lsn;

/// Most complaints that a report has in full.
pub const COMPLAINTS_MAX: usize = 20;

/// Longest complaint in characters.
pub const COMPLAINT_CHARS_MAX: usize = 300;

/// `POST /v1/check`: begins a check, or tells where it stands. One that has ended is not made again
/// for the same proof, as long as the agent lives. One for another proof ends it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckOrder {
    /// The proof that it is for.
    pub proof: ProofId,
    /// Participant that is checked.
    pub participant: ParticipantId,
    /// Its generation.
    pub generation: u64,
}

/// How a check goes or went: the answer, and part of the status of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// The proof that it is for.
    pub proof: ProofId,
    /// Where it stands.
    pub phase: CheckPhase,
    /// Tables and indexes that were checked.
    pub relations_done: u64,
    /// Tables and indexes that are to be checked; 0 before that is known.
    pub relations_total: u64,
    /// Pages of them that were checked: large tables take long.
    pub pages_done: u64,
}

/// Where a check stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase", deny_unknown_fields)]
pub enum CheckPhase {
    /// Under way.
    Running,
    /// Everything was checked.
    Finished(CheckReport),
    /// It could not be carried out, which says nothing about the data.
    Failed {
        /// Why, for people.
        detail: String,
    },
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// Where the restored instance began: the end of the last record that was replayed.
    pub began_at: Lsn,
    /// Databases that were checked.
    pub databases: u32,
    /// Tables and indexes that were checked, those of PostgreSQL itself too.
    pub relations: u64,
    /// Number of complaints; 0 if nothing is wrong.
    pub complaints_total: u64,
    /// The first of them, at most [`COMPLAINTS_MAX`].
    pub complaints: Vec<String>,
}
