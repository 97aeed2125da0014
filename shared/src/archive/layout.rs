//! Names of objects, derived from our ids and positions in the WAL.
//!
//! ```text
//! timelines/<timeline>/<system identifier>/
//!     epochs/<epoch>.json                         an epoch: leader, tli, start, parent and cut
//!     wal/<epoch>/<tli>/<start LSN>.zst           a chunk of WAL; its end is inside
//!     segments/<epoch>/<tli>/<start LSN>.zst      a whole segment, put together from chunks
//!     history/<tli>.history                       PostgreSQL's own history file
//!     backups/<backup>/<number>.zst               a piece of a base backup
//!     backups/<backup>/manifest.json.zst          files, checksums, and in which pieces they are
//!     backups/<backup>/backup.json                written last: without it there is no backup
//! ```
//!
//! Epochs and pieces are decimal, `tli` and positions hexadecimal, all of fixed width: the order of
//! names is the order of what they name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{BackupId, TimelineId};
use crate::units::Lsn;

/// How the name of a sentinel ends.
const SENTINEL: &str = "backup.json";

/// Where everything of one history of one cluster is. Two databases can never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The timeline.
    pub timeline: TimelineId,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
}

/// One leader's run of WAL: an epoch, and PostgreSQL's own timeline number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Number of the epoch (≥ 1).
    pub epoch: u32,
    /// PostgreSQL's timeline number (≥ 1).
    pub tli: u32,
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", all_of(self.timeline), self.system_identifier)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}/{:08X}", self.epoch, self.tli)
    }
}

impl Prefix {
    /// The record of an epoch.
    pub fn epoch(&self, epoch: u32) -> String {
        format!("{self}/epochs/{epoch:08}.json")
    }

    /// All chunks of a run begin with this.
    pub fn chunks(&self, run: Run) -> String {
        format!("{self}/wal/{run}/")
    }

    /// The chunk that begins at `start`.
    pub fn chunk(&self, run: Run, start: Lsn) -> String {
        format!("{}{:016X}.zst", self.chunks(run), start.bytes())
    }

    /// All segments of a run that were put together begin with this.
    pub fn segments(&self, run: Run) -> String {
        format!("{self}/segments/{run}/")
    }

    /// The whole segment that begins at `start`.
    pub fn segment(&self, run: Run, start: Lsn) -> String {
        format!("{}{:016X}.zst", self.segments(run), start.bytes())
    }

    /// PostgreSQL's history file of `tli`.
    pub fn history(&self, tli: u32) -> String {
        format!("{self}/history/{tli:08X}.history")
    }

    /// Everything of a base backup begins with this.
    pub fn backup(&self, backup: BackupId) -> String {
        format!("{self}/backups/{backup}/")
    }

    /// Piece `number` (≥ 1) of a base backup.
    pub fn backup_piece(&self, backup: BackupId, number: u32) -> String {
        format!("{}{number:06}.zst", self.backup(backup))
    }

    /// The manifest of a base backup.
    pub fn backup_manifest(&self, backup: BackupId) -> String {
        format!("{}manifest.json.zst", self.backup(backup))
    }

    /// The sentinel of a base backup: written last.
    pub fn backup_sentinel(&self, backup: BackupId) -> String {
        format!("{}{SENTINEL}", self.backup(backup))
    }
}

/// Everything of a timeline begins with this.
pub fn all_of(timeline: TimelineId) -> String {
    format!("timelines/{timeline}/")
}

/// The sentinel of the base backup that an object belongs to; null if it belongs to none.
pub fn sentinel_beside(key: &str) -> Option<String> {
    let (directory, _) = key.rsplit_once('/')?;
    let (above, _) = directory.rsplit_once('/')?;
    above
        .ends_with("/backups")
        .then(|| format!("{directory}/{SENTINEL}"))
}

/// The position in the name of a chunk or segment; null if the name is none of ours.
pub fn start_in_name(key: &str) -> Option<Lsn> {
    let name = key.rsplit('/').next()?.strip_suffix(".zst")?;
    let is_hexadecimal = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hexadecimal
        .then(|| u64::from_str_radix(name, 16).ok().map(Lsn::from_bytes))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: Prefix = Prefix {
        timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
        system_identifier: 7_300_000_000_000_000_001,
    };

    #[test]
    fn names_are_ordered_as_what_they_name() {
        let at = |epoch, tli, bytes| PREFIX.chunk(Run { epoch, tli }, Lsn::from_bytes(bytes));
        let ordered = [
            at(1, 1, 0x1_0000),
            at(1, 1, 0x10_0000_0000),
            at(2, 0x9, 0),
            at(2, 0xA, 0),
            at(2, 0x10, 0),
            at(10, 1, 0),
        ];
        assert!(ordered.is_sorted(), "{ordered:#?}");
    }

    #[test]
    fn a_chunk_says_where_it_begins() {
        let run = Run {
            epoch: 1,
            tli: 0x1F,
        };
        let key = PREFIX.chunk(run, Lsn::from_bytes(0x1_0300_0060));
        assert_eq!(
            key,
            "timelines/00000000-0000-0000-0000-000000000001/7300000000000000001/wal/00000001/0000001F/0000000103000060.zst"
        );
        assert_eq!(start_in_name(&key), Some(Lsn::from_bytes(0x1_0300_0060)));
    }

    #[test]
    fn other_names_say_nothing() {
        for key in [
            "",
            ".zst",
            "a/1.zst",
            "a/00000001030000+0.zst",
            "a/0000000103000060",
        ] {
            assert_eq!(start_in_name(key), None, "{key:?}");
        }
    }

    #[test]
    fn the_sentinel_of_an_object_is_found_from_its_name() {
        let prefix = Prefix {
            timeline: TimelineId::new(),
            system_identifier: 1,
        };
        let backup = BackupId::new();
        let expected = Some(prefix.backup_sentinel(backup));
        for key in [
            prefix.backup_piece(backup, 7),
            prefix.backup_manifest(backup),
            prefix.backup_sentinel(backup),
        ] {
            assert_eq!(sentinel_beside(&key), expected, "{key}");
        }
        let run = Run { epoch: 1, tli: 1 };
        assert_eq!(
            sentinel_beside(&prefix.chunk(run, Lsn::from_bytes(1))),
            None
        );
        assert_eq!(sentinel_beside(&prefix.epoch(1)), None);
    }
}
