//! Restoring from the archive: what an instance is born from, and how its agent gets at objects.
//!
//! The spec says what to restore and up to where; it has no signed URL, because those expire. The
//! agent says in its status what it wants to read next, and the worker answers with `POST
//! /v1/archive/reads`: signed places for pieces by name, and the WAL objects that follow a position.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::wal::Signed;
use crate::archive::layout::Run;
use crate::ids::{BackupId, ParticipantId, TimelineId};
use crate::units::Lsn;

/// What a data directory is restored from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreSource {
    /// Major version of PostgreSQL (15..) of the backup.
    pub postgres_major: u16,
    /// Timeline whose archive is read.
    pub timeline: TimelineId,
    /// `system_identifier` of its cluster.
    pub system_identifier: u64,
    /// Base backup to begin with.
    pub backup: BackupId,
    /// The way from the backup to the target: runs in order. WAL of a run is read from the end of
    /// the one before up to its own end, and never past it.
    pub path: Vec<Leg>,
    /// Where recovery ends.
    pub target: Target,
}

/// One run on the way, and how far it is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// Epoch and `tli`.
    pub run: Run,
    /// Where the next run left it (its cut), or up to where the archive is durable.
    pub end: Lsn,
}

/// Where recovery ends. A target that the archive does not reach is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Target {
    /// At the end of the last leg.
    End,
    /// After the record that ends at or contains this position.
    Lsn {
        /// The position.
        lsn: Lsn,
    },
    /// After the last transaction that was committed at or before this moment.
    Time {
        /// The moment.
        at: DateTime<Utc>,
    },
}

/// `POST /v1/archive/reads`: what the agent may read, for a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveReads {
    /// Participant that is restored.
    pub participant: ParticipantId,
    /// Its generation.
    pub generation: u64,
    /// The manifest, and pieces by number; those the agent asked for.
    pub manifest: Option<Signed>,
    /// Pieces of the backup by number.
    pub pieces: BTreeMap<u32, Signed>,
    /// WAL objects in the order of their start.
    pub wal: Vec<WalObject>,
}

/// An object of WAL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalObject {
    /// Its run.
    pub run: Run,
    /// First byte.
    pub start: Lsn,
    /// Reads it.
    pub get: Signed,
}

/// How a restore goes: part of the instance's status while it is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreStatus {
    /// Bytes of files that are in place.
    pub bytes_done: u64,
    /// Bytes of all files; 0 while the manifest is not read.
    pub bytes_total: u64,
    /// Whether it wants the manifest.
    pub wants_manifest: bool,
    /// Pieces it wants next (at most 256).
    pub wants_pieces: Vec<u32>,
    /// WAL it wants next: everything of this run from this position on; null while it has enough.
    pub wants_wal: Option<WantedWal>,
    /// Replayed up to here; null before PostgreSQL runs.
    pub replay_lsn: Option<Lsn>,
}

/// WAL that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedWal {
    /// Its run.
    pub run: Run,
    /// From here on.
    pub from: Lsn,
}
