//! Restoring from the archive: what an instance is born from, and how its agent gets at objects.
//!
//! The spec says what to restore and up to where; it has no signed URL, because those expire. The
//! agent says in its status what it wants to read next, and the worker answers with `POST
//! /v1/archive/reads`: signed requests for pieces by number, and for the WAL objects that follow a
//! position. Nothing that a worker sends ends a restore early: how far the WAL goes is in the spec,
//! and what is not there yet is asked for again.
//!
//! Such an instance is a leader with a history of its own: PostgreSQL goes on under a new `tli`. The
//! roles of the spec are the only ones that may log in, and nobody may before the target was reached
//! for sure.
//!
//! A follower is restored in the same way, and never ends: its last leg is open. What is not in the
//! archive beyond the end that the spec has is not there *yet*. The spec stays as it is while the
//! leader writes; whenever PostgreSQL asks the archive again – it fell off, or there is nobody to
//! stream from – the status wants WAL again, with the largest position as its end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::wal::Signed;
use crate::archive::layout::{Prefix, Run};
pub use crate::archive::plan::{Leg, Target};
use crate::ids::{BackupId, ParticipantId, TimelineId};
use crate::units::Lsn;

/// Most pieces that a status asks for.
pub const PIECES_WANTED_MAX: usize = 64;

/// Most objects of WAL in one call.
pub const WAL_OBJECTS_MAX: usize = 256;

/// What a data directory is restored from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreSource {
    /// Major version of PostgreSQL (15..) of the backup.
    pub postgres_major: u16,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
    /// Timeline whose archive has the backup.
    pub timeline: TimelineId,
    /// Base backup to begin with.
    pub backup: BackupId,
    /// All runs from the beginning of the history to the target, in order, at least one. WAL of a
    /// run is read up to its end, and never past it; that before the backup is not read.
    pub path: Vec<Leg>,
    /// Where recovery ends.
    pub target: Target,
    /// Everything that was committed before this moment is on the path. A target in time up to here
    /// is also reached by the end of the path; one beyond only by a later commit.
    pub complete_until: DateTime<Utc>,
    /// Names of the parent that become those of the new instance, once its own history has begun and
    /// before anybody is let in. What they own goes with them. Names that are not there any more are
    /// passed over, and so are those whose new name is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renames: Vec<Rename>,
}

/// A database of the parent and the role that owns it, under the names of the new instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The database; `to` is one of the databases of the spec.
    pub database: NewName,
    /// The role; `to` is one of the roles of the spec.
    pub role: NewName,
}

/// What had one name and shall have another. The same twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewName {
    /// Name at the parent.
    pub from: String,
    /// Name from then on.
    pub to: String,
}

/// `POST /v1/archive/reads`: what the agent may read, for a while. Answered with the
/// [`RestoreStatus`] after it, or null if nothing is restored. Idempotent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveReads {
    /// Participant that is restored.
    pub participant: ParticipantId,
    /// Its generation.
    pub generation: u64,
    /// Reads the manifest; null if it was not asked for.
    pub manifest: Option<Signed>,
    /// Read pieces of the backup, by number.
    pub pieces: BTreeMap<u32, Signed>,
    /// WAL of one run; null if none was asked for.
    pub wal: Option<WalReads>,
}

/// All objects of a run that begin within a range.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalReads {
    /// Timeline whose archive has them.
    pub timeline: TimelineId,
    /// Their run.
    pub run: Run,
    /// First position of the range.
    pub from: Lsn,
    /// The position after it: what begins here or later was not looked at, or is not part of the
    /// history.
    pub until: Lsn,
    /// The objects in the order of their start, at most [`WAL_OBJECTS_MAX`].
    pub objects: Vec<WalObject>,
}

/// An object of WAL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalObject {
    /// First byte.
    pub start: Lsn,
    /// Whether it is a whole segment; else a chunk.
    pub is_segment: bool,
    /// Reads it.
    pub get: Signed,
}

/// How a restore goes: part of the status of an instance that was born from one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreStatus {
    /// How far it is.
    pub stage: RestoreStage,
    /// Bytes of files that are in place.
    pub bytes_done: u64,
    /// Bytes of all files; 0 while the manifest is not read.
    pub bytes_total: u64,
    /// Whether it wants the manifest.
    pub wants_manifest: bool,
    /// Pieces it wants to read now or soon, in order (at most [`PIECES_WANTED_MAX`]).
    pub wants_pieces: Vec<u32>,
    /// WAL it wants to read now or soon; null while it has enough.
    pub wants_wal: Option<WantedWal>,
    /// Up to here WAL was fetched, without a hole; null before the first.
    pub fetched_lsn: Option<Lsn>,
    /// PostgreSQL has asked for WAL up to here: everything before is replayed, but for what it reads
    /// ahead. Null before it did.
    pub replay_lsn: Option<Lsn>,
    /// Why the archive does not give what is needed at the moment, for people; null while it does.
    pub trouble: Option<String>,
}

/// How far a restore is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage", deny_unknown_fields)]
pub enum RestoreStage {
    /// The files of the backup are fetched.
    Fetching,
    /// WAL is replayed: of a follower as long as it follows.
    Replaying,
    /// The target is reached, or the follower was promoted: the instance is a leader of its own.
    Finished(Restored),
    /// It does not go on until the instance is asked to be restarted (`incarnation`).
    Failed {
        /// Why, for people; names the object if it is about one.
        detail: String,
    },
}

/// Where a restored instance began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// PostgreSQL's timeline number from then on.
    pub tli: u32,
    /// The one that it left: of all that it might have gone along the one that the position is on,
    /// which PostgreSQL's own history file does not tell.
    pub parent_tli: u32,
    /// Where it left it: the end of the last record that was replayed.
    pub began_at: Lsn,
}

/// WAL that is wanted: everything of a run from a position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedWal {
    /// Timeline whose archive has it.
    pub timeline: TimelineId,
    /// Its run.
    pub run: Run,
    /// From here on.
    pub from: Lsn,
    /// What begins here or later is not part of the history; the largest position if the leg is open.
    pub end: Lsn,
}

impl RestoreStatus {
    /// Whether it wants to read something.
    pub fn wants_something(&self) -> bool {
        self.wants_manifest || !self.wants_pieces.is_empty() || self.wants_wal.is_some()
    }

    /// Whether it goes on, or wants to read something.
    pub fn is_under_way(&self) -> bool {
        self.wants_something()
            || match self.stage {
                RestoreStage::Fetching | RestoreStage::Replaying => true,
                RestoreStage::Finished(_) | RestoreStage::Failed { .. } => false,
            }
    }
}

impl RestoreStatus {
    /// Why it does not go on; null if it does, or has ended well.
    pub fn failure(&self) -> Option<&str> {
        match &self.stage {
            RestoreStage::Failed { detail } => Some(detail),
            RestoreStage::Fetching | RestoreStage::Replaying | RestoreStage::Finished(_) => None,
        }
    }
}

impl RestoreSource {
    /// Where the backup is.
    pub fn prefix(&self) -> Prefix {
        self.prefix_of(self.timeline)
    }

    /// The leg that a history is on which ends at `lsn`: of two that meet there the later one. None
    /// if the way ends before, but for one that goes on beyond its end (`is_open`).
    pub fn leg_of(&self, lsn: Lsn, is_open: bool) -> Option<&Leg> {
        let last = self.path.last();
        let last = last.filter(|last| is_open || lsn <= last.end);
        self.path.iter().find(|leg| lsn < leg.end).or(last)
    }

    /// Where the WAL of a leg is.
    pub fn prefix_of(&self, timeline: TimelineId) -> Prefix {
        Prefix {
            timeline,
            system_identifier: self.system_identifier,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_history_ends_on_the_leg_that_its_end_is_on() {
        let leg = |tli, end| Leg {
            timeline: TimelineId::from_uuid(uuid::Uuid::nil()),
            run: Run { epoch: tli, tli },
            end: Lsn::from_bytes(end),
        };
        let source = RestoreSource {
            postgres_major: 15,
            system_identifier: 7,
            timeline: TimelineId::from_uuid(uuid::Uuid::nil()),
            backup: BackupId::from_uuid(uuid::Uuid::nil()),
            path: vec![leg(1, 10), leg(2, 20), leg(4, 30)],
            target: Target::End,
            complete_until: DateTime::UNIX_EPOCH,
            renames: Vec::new(),
        };
        let tli_of = |lsn, is_open| {
            let leg = source.leg_of(Lsn::from_bytes(lsn), is_open);
            leg.map(|leg| leg.run.tli)
        };
        for (lsn, tli) in [(0, 1), (9, 1), (10, 2), (15, 2), (20, 4), (30, 4)] {
            assert_eq!(tli_of(lsn, false), Some(tli), "{lsn}");
        }
        assert_eq!((tli_of(31, false), tli_of(31, true)), (None, Some(4)));
    }
}
