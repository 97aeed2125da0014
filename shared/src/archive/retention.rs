//! What of a timeline is kept, and what may be deleted. Pure: no I/O, no clock.
//!
//! Kept is what is needed to restore every moment since [`keep_since`](expired): every backup that
//! was finished later, and the newest one before; and the WAL from the oldest kept backup on. The
//! newest backup that is not known to be damaged is kept too, however old it is. Newest is meant
//! along the living history: what was written past a cut restores none of its moments.
//!
//! A clock that has jumped must not delete anything for good. So what is marked is deleted only
//! [`KEEP_MARKED`] later by the same clock; and a mark of a moment to come was made by a clock that
//! was put right since, and is taken back. WAL needs no such delay of its own: it is let go of behind
//! the oldest backup of which nothing is deleted yet, marked or not.

use chrono::{DateTime, TimeDelta, Utc};

use super::chain::segment_start;
use crate::ids::BackupId;
use crate::units::Lsn;

/// How long a backup is marked before it is deleted: time enough to find out about a clock that has
/// jumped, and to put it right.
pub const KEEP_MARKED: TimeDelta = TimeDelta::hours(6);

/// What becomes of a backup that is marked to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted now.
    Deleted,
    /// It is deleted later.
    Waits,
    /// The mark is taken back.
    Kept,
}

/// What becomes of a backup that was marked at `marked_at`; null if there is no way back any more.
pub fn fate(marked_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Fate {
    match marked_at {
        Some(at) if at > now => Fate::Kept,
        Some(at) if now - at < KEEP_MARKED => Fate::Waits,
        None | Some(_) => Fate::Deleted,
    }
}

/// A backup that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The backup.
    pub id: BackupId,
    /// Number of the epoch it was made in.
    pub epoch: u32,
    /// Replay begins here.
    pub start: Lsn,
    /// Moment it was known to be finished.
    pub finished_at: DateTime<Utc>,
    /// Whether it has pages whose checksum was wrong.
    pub is_damaged: bool,
    /// Whether its end is part of the living history: not past a cut.
    pub is_on_line: bool,
}

/// The backups of `held` that are not needed to restore any moment since `keep_since`, oldest first.
/// Never all of them, and none while no other one that is as old is of the living history.
pub fn expired(held: &[Held], keep_since: DateTime<Utc>) -> Vec<BackupId> {
    let mut ordered: Vec<&Held> = held.iter().collect();
    ordered.sort_by_key(|backup| (backup.finished_at, backup.id));
    let old: Vec<&Held> = ordered
        .into_iter()
        .take_while(|backup| backup.finished_at <= keep_since)
        .collect();
    let mut on_line = old.iter().rev().filter(|backup| backup.is_on_line);
    let good = on_line.clone().find(|backup| !backup.is_damaged);
    let Some(newest) = on_line.next() else {
        return Vec::new();
    };
    // The last good one at all, if none of the line is.
    let good = good.or_else(|| old.iter().rev().find(|backup| !backup.is_damaged));
    let (newest, good) = (Some(newest.id), good.map(|backup| backup.id));
    old.iter()
        .map(|backup| backup.id)
        .filter(|id| Some(*id) != newest && Some(*id) != good)
        .collect()
}

/// The first WAL that is needed by any of `kept`: an epoch, and a position in it. Null without a
/// backup: then nothing is known not to be needed.
pub fn needed_from(kept: &[Held], segment_bytes: u32) -> Option<(u32, Lsn)> {
    let first = kept.iter().map(|backup| (backup.epoch, backup.start)).min();
    first.map(|(epoch, start)| (epoch, segment_start(start, segment_bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn second(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn held(number: usize, finished: i64, is_damaged: bool) -> Held {
        let number = u128::try_from(number).unwrap();
        Held {
            id: BackupId::from_uuid(uuid::Uuid::from_u128(number)),
            epoch: 1,
            start: Lsn::from_bytes(finished.unsigned_abs() * 100),
            finished_at: second(finished),
            is_damaged,
            is_on_line: true,
        }
    }

    #[track_caller]
    fn check(finished: &[(i64, bool)], keep_since: i64, expected: &[usize]) {
        let held: Vec<Held> = finished
            .iter()
            .enumerate()
            .map(|(number, (at, damaged))| held(number, *at, *damaged))
            .collect();
        let expected: Vec<BackupId> = expected.iter().map(|number| held[*number].id).collect();
        assert_eq!(expired(&held, second(keep_since)), expected);
    }

    #[test]
    fn the_newest_one_before_is_kept_so_that_every_moment_since_can_be_restored() {
        check(&[(10, false), (20, false), (30, false)], 25, &[0]);
        check(&[(10, false), (20, false), (30, false)], 20, &[0]);
        check(&[(10, false), (20, false), (30, false)], 19, &[]);
        check(&[(10, false), (20, false), (30, false)], 99, &[0, 1]);
    }

    #[test]
    fn the_last_good_one_is_never_deleted() {
        check(&[], 99, &[]);
        check(&[(10, false)], 99, &[]);
        check(&[(10, false), (20, true)], 99, &[]);
        check(
            &[(5, false), (10, false), (15, true), (20, true)],
            99,
            &[0, 2],
        );
    }

    #[test]
    fn what_was_written_past_a_cut_restores_no_moment_of_the_living_history() {
        let mut backups = [held(1, 10, false), held(2, 20, false), held(3, 30, false)];
        backups[2].is_on_line = false;
        let gone = |backups: &[Held], since| expired(backups, second(since));
        assert_eq!(gone(&backups, 35), [backups[0].id, backups[2].id]);
        assert_eq!(gone(&backups, 25), [backups[0].id]);
        backups[1].is_damaged = true;
        assert_eq!(gone(&backups, 35), [backups[2].id], "the last good one");
        backups[0].is_on_line = false;
        backups[1].is_on_line = false;
        assert_eq!(gone(&backups, 35), [], "nothing else is that old");
    }

    #[test]
    fn a_mark_is_deleted_after_hours_and_taken_back_if_it_is_of_a_moment_to_come() {
        let marked = second(1_000_000);
        let after = |seconds| fate(Some(marked), marked + TimeDelta::seconds(seconds));
        assert_eq!(after(-1), Fate::Kept);
        assert_eq!(after(0), Fate::Waits);
        assert_eq!(after(KEEP_MARKED.num_seconds() - 1), Fate::Waits);
        assert_eq!(after(KEEP_MARKED.num_seconds()), Fate::Deleted);
        assert_eq!(fate(None, marked), Fate::Deleted);
    }

    #[test]
    fn wal_is_needed_from_the_segment_of_the_oldest_backup() {
        let kept = [held(1, 90, false), held(2, 80, false)];
        let found = needed_from(&kept, 1000);
        assert_eq!(found, Some((1, Lsn::from_bytes(8000))));
        let mut later = kept;
        later[1].epoch = 2;
        let found = needed_from(&later, 1000);
        assert_eq!(found, Some((1, Lsn::from_bytes(9000))));
        assert_eq!(needed_from(&[], 1000), None);
    }

    proptest! {
        #[test]
        fn whenever_it_runs_every_moment_that_is_kept_has_a_backup_before_it(
            finished in vec((0i64..1000, any::<bool>()), 0..20),
            mut moments in vec(0i64..1200, 1..20),
            retention in 1i64..500,
        ) {
            moments.sort_unstable();
            let mut left: Vec<Held> = Vec::new();
            let mut made: Vec<Held> = finished
                .iter()
                .enumerate()
                .map(|(number, (at, damaged))| held(number, *at, *damaged))
                .collect();
            made.sort_by_key(|backup| backup.finished_at);
            for now in moments {
                let new = made.iter().filter(|backup| backup.finished_at <= second(now));
                let new: Vec<Held> = new.copied().collect();
                made.retain(|backup| !new.contains(backup));
                left.extend(new);
                let had: Vec<Held> = left.clone();
                let keep_since = second(now - retention);
                let gone = expired(&left, keep_since);
                left.retain(|backup| !gone.contains(&backup.id));
                prop_assert!(had.is_empty() || !left.is_empty());
                let good = |all: &[Held]| all.iter().any(|backup| !backup.is_damaged);
                prop_assert_eq!(good(&had), good(&left));
                let before = |all: &[Held], moment: DateTime<Utc>| {
                    let mut before = all.iter().filter(|backup| backup.finished_at <= moment);
                    before.next().is_some()
                };
                // Whatever could be restored of what is promised still can.
                for back in 0..retention {
                    let moment = second(now - back);
                    prop_assert_eq!(before(&had, moment), before(&left, moment));
                }
                let again = expired(&left, keep_since);
                prop_assert!(again.is_empty());
            }
        }
    }
}
