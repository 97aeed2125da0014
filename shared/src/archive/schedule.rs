//! When a base backup is due. Pure: no I/O, no clock.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::chain::segment_end;
use crate::domain::BackupReason;
use crate::machine::cadence::jittered;
use crate::units::Lsn;

/// Most bytes of WAL that follow a backup by themselves, beside the rest of the segment that it ends.
///
/// That is a checkpoint and a snapshot or two, less than a kilobyte each, and a few pages (8 KiB) whose hint
/// bits are set by whoever looks at them first. WAL beyond this was written by somebody. Somebody who
/// wrote less is safe all the same: it is in the archive, and replayed in no time.
pub const NOISE_BYTES: u64 = 64 * 1024;

/// What is known of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Now.
    pub now: DateTime<Utc>,
    /// Time between two backups of a database that is written to.
    pub interval: Duration,
    /// Differs between timelines and backups, so that what began together does not stay together.
    pub salt: u64,
    /// Start of its newest epoch.
    pub epoch_start: Lsn,
    /// Size of a WAL segment in bytes.
    pub segment_bytes: u32,
    /// How far that epoch is in the archive.
    pub watermark: Lsn,
    /// The newest backup that is finished; null if there is none.
    pub last: Option<Last>,
    /// Epoch and end of its newest gap; null if there is none.
    pub gap: Option<(u32, Lsn)>,
    /// Whether somebody asked for one and waits.
    pub is_requested: bool,
}

/// The newest backup that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Number of the epoch it was made in.
    pub epoch: u32,
    /// Replay begins here.
    pub start: Lsn,
    /// It is consistent from here on.
    pub stop: Lsn,
    /// Moment it was begun.
    pub started_at: DateTime<Utc>,
}

impl Facts {
    /// Why a backup is due now; null if none is.
    pub fn due(&self) -> Option<BackupReason> {
        let urgent = self.urgent();
        let scheduled = self.is_its_time() && self.was_written_to();
        urgent.or_else(|| scheduled.then_some(BackupReason::Schedule))
    }

    /// What does not wait for its time. Nothing is backed up before the first WAL is in the archive:
    /// a backup alone restores nothing.
    fn urgent(&self) -> Option<BackupReason> {
        if self.watermark <= self.epoch_start {
            return None;
        }
        let Some(last) = &self.last else {
            return Some(BackupReason::First);
        };
        if self.gap.is_some_and(|gap| gap > (last.epoch, last.start)) {
            return Some(BackupReason::Gap);
        }
        self.is_requested.then_some(BackupReason::Request)
    }

    /// Whether the interval is over: up to a fifth early, never late.
    fn is_its_time(&self) -> bool {
        let Some(last) = &self.last else { return false };
        let shortened = jittered(self.interval * 10 / 11, self.salt);
        let since = (self.now - last.started_at).to_std().unwrap_or_default();
        since >= shortened
    }

    /// Whether anybody wrote since the last backup.
    fn was_written_to(&self) -> bool {
        let Some(last) = &self.last else { return false };
        // The end of a backup fills its segment up.
        let end = segment_end(last.stop, self.segment_bytes).bytes();
        self.watermark.bytes() > end.saturating_add(NOISE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: u64 = 16 << 20;

    fn second(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    /// A timeline whose backup was begun at second 0 and is done.
    fn facts(now: i64, watermark: u64) -> Facts {
        Facts {
            now: second(now),
            interval: Duration::from_secs(1000),
            salt: 7,
            epoch_start: Lsn::from_bytes(SEGMENT),
            segment_bytes: 16 << 20,
            watermark: Lsn::from_bytes(watermark),
            last: Some(Last {
                epoch: 1,
                start: Lsn::from_bytes(SEGMENT + 100),
                stop: Lsn::from_bytes(SEGMENT + 500),
                started_at: second(0),
            }),
            gap: None,
            is_requested: false,
        }
    }

    #[test]
    fn the_first_one_is_due_as_soon_as_there_is_wal() {
        let mut new = facts(1, SEGMENT);
        new.last = None;
        assert_eq!(new.due(), None, "no WAL is in the archive");
        new.watermark = Lsn::from_bytes(SEGMENT + 1);
        assert_eq!(new.due(), Some(BackupReason::First));
    }

    #[test]
    fn the_next_one_waits_for_its_time() {
        assert_eq!(facts(700, 9 * SEGMENT).due(), None);
        assert_eq!(facts(1000, 9 * SEGMENT).due(), Some(BackupReason::Schedule));
    }

    #[test]
    fn an_idle_database_is_not_backed_up_again() {
        for watermark in [500, SEGMENT, SEGMENT + 1, SEGMENT + 1000] {
            assert_eq!(facts(1_000_000, SEGMENT + watermark).due(), None);
        }
        let written = facts(1_000_000, 2 * SEGMENT + NOISE_BYTES + 1);
        assert_eq!(written.due(), Some(BackupReason::Schedule));
    }

    #[test]
    fn a_gap_behind_the_last_one_does_not_wait() {
        let mut gap = facts(1, 9 * SEGMENT);
        gap.gap = Some((1, Lsn::from_bytes(SEGMENT)));
        assert_eq!(gap.due(), None);
        gap.gap = Some((1, Lsn::from_bytes(3 * SEGMENT)));
        assert_eq!(gap.due(), Some(BackupReason::Gap));
    }

    #[test]
    fn a_request_does_not_wait_and_needs_no_wal_since() {
        let mut asked = facts(1, SEGMENT + 500);
        asked.is_requested = true;
        assert_eq!(asked.due(), Some(BackupReason::Request));
    }

    proptest! {
        #[test]
        fn jitter_never_makes_one_late_nor_more_than_a_fifth_early(salt: u64) {
            let mut facts = facts(1000, 9 * SEGMENT);
            facts.salt = salt;
            prop_assert_eq!(facts.due(), Some(BackupReason::Schedule));
            facts.now = second(799);
            prop_assert_eq!(facts.due(), None);
        }
    }
}
