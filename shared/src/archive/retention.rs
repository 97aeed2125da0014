//! What of a timeline is kept, and what may be deleted. Pure: no I/O, no clock.
//!
//! Kept is what is needed to restore every moment since [`keep_since`](expired): every backup that
//! was finished later, and the newest one before; and the WAL from the oldest kept backup on. The
//! newest backup that is not known to be damaged is kept too, however old it is.

use chrono::{DateTime, Utc};

use super::chain::segment_start;
use crate::ids::BackupId;
use crate::units::Lsn;

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
}

/// The backups of `held` that are not needed to restore any moment since `keep_since`, oldest first.
/// Never all of them.
pub fn expired(held: &[Held], keep_since: DateTime<Utc>) -> Vec<BackupId> {
    let mut ordered: Vec<&Held> = held.iter().collect();
    ordered.sort_by_key(|backup| (backup.finished_at, backup.id));
    let old: Vec<&Held> = ordered
        .into_iter()
        .take_while(|backup| backup.finished_at <= keep_since)
        .collect();
    let newest = old.last().map(|backup| backup.id);
    let good = old.iter().rev().find(|backup| !backup.is_damaged);
    let good = good.map(|backup| backup.id);
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
    use chrono::TimeDelta;
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
