//! How much of a disk may be WAL.

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Most WAL that waits for the archive: hours of a busy database.
const KEPT_MAX: u64 = 8 * GIB;

/// PostgreSQL's own default of `max_wal_size`.
const BETWEEN_CHECKPOINTS_MAX: u64 = GIB;

/// Fewest bytes of either: a few segments of the usual size, below which PostgreSQL only trips over
/// itself.
const LEAST: u64 = 64 * MIB;

/// What WAL may take of the disk of a server.
///
/// As long as no more waits for the archive nothing is lost; beyond it the database is kept alive
/// instead of its history, because a full disk stops both. So that it is never full of WAL, what
/// waits and what lies between two checkpoints are parts of the disk, however small that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRoom {
    /// `max_slot_wal_keep_size`: what the slot of the archive may hold back. A quarter of the disk,
    /// 8 GiB at most and 64 MiB at least.
    pub kept_bytes: u64,
    /// `max_wal_size`: about the most between two checkpoints. An eighth of the disk, 1 GiB at most
    /// and 64 MiB at least.
    pub between_checkpoints_bytes: u64,
}

impl WalRoom {
    /// On a disk of `disk_bytes`; the most that there can be if that is not known.
    pub fn on(disk_bytes: Option<u64>) -> Self {
        let part = |parts: u64, most: u64| {
            let part = disk_bytes.map_or(most, |bytes| bytes / parts / MIB * MIB);
            part.clamp(LEAST, most)
        };
        Self {
            kept_bytes: part(4, KEPT_MAX),
            between_checkpoints_bytes: part(8, BETWEEN_CHECKPOINTS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wal_takes_a_part_of_a_small_disk_and_no_more_of_a_large_one() {
        let room = |disk: Option<u64>| {
            let room = WalRoom::on(disk);
            (room.kept_bytes / MIB, room.between_checkpoints_bytes / MIB)
        };
        assert_eq!(room(None), (8192, 1024));
        assert_eq!(room(Some(100 * GIB)), (8192, 1024));
        assert_eq!(room(Some(4 * GIB)), (1024, 512));
        assert_eq!(room(Some(512 * MIB + 1)), (128, 64));
        assert_eq!(room(Some(1)), (64, 64));
    }
}
