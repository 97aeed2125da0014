//! Letting go of WAL that no kept backup needs.

use shared::archive::layout::start_in_name;
use shared::archive::retention::{Held, needed_from};
use shared::db::archive::{KeptWal, keep_wal_from, note_trimmed};
use shared::units::Lsn;

use super::{Came, Expiring};
use crate::ring::TurnError;

impl Expiring<'_> {
    /// Lets go of WAL before the oldest of `held`, or deletes some that was let go of.
    pub(super) async fn trim(&self, wal: &[KeptWal], held: &[Held]) -> Result<Came, TurnError> {
        for epoch in wal {
            let needed = needed_from(held, epoch.segment_bytes);
            let to = needed.map_or(epoch.kept_from, |needed| kept_from(epoch, needed));
            if to > epoch.kept_from {
                return self.let_go(epoch, to).await;
            }
            if epoch.kept_from > epoch.trimmed {
                return self.delete_wal(epoch).await;
            }
        }
        Ok(Came::ToTheEnd)
    }

    async fn let_go(&self, epoch: &KeptWal, to: Lsn) -> Result<Came, TurnError> {
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let key = (self.row.timeline, epoch.run.epoch);
        let recorded = keep_wal_from(&self.context.pool, key, to).await?;
        tracing::info!(
            timeline.id = %self.row.timeline, epoch = epoch.run.epoch, from = %to,
            request_id = %self.row.request_id, "older WAL is not kept any more",
        );
        Ok(self.after(recorded).await)
    }

    async fn delete_wal(&self, epoch: &KeptWal) -> Result<Came, TurnError> {
        for all in [
            epoch.prefix.chunks(epoch.run),
            epoch.prefix.segments(epoch.run),
        ] {
            let listed = self.first_of(&all).await?;
            let names = listed.into_iter().map(|object| object.key);
            let gone = |key: &String| start_in_name(key).is_some_and(|at| at < epoch.kept_from);
            let keys: Vec<String> = names.filter(gone).collect();
            if keys.is_empty() {
                continue;
            }
            return Ok(if self.delete(&keys, "wal").await? {
                Came::PartOfTheWay
            } else {
                Came::Overtaken
            });
        }
        let key = (self.row.timeline, epoch.run.epoch);
        let noted = note_trimmed(&self.context.pool, key, epoch.kept_from).await?;
        Ok(self.after(noted).await)
    }
}

/// From where on WAL of `epoch` is kept if a restore may need everything from `needed`: an epoch, and
/// a position in it. Never what is still to be put together: it is compared with what is there.
fn kept_from(epoch: &KeptWal, needed: (u32, Lsn)) -> Lsn {
    let (number, from) = needed;
    let from = match epoch.run.epoch.cmp(&number) {
        std::cmp::Ordering::Less => epoch.watermark,
        std::cmp::Ordering::Equal => from.min(epoch.compacted),
        std::cmp::Ordering::Greater => epoch.kept_from,
    };
    from.max(epoch.kept_from)
}

#[cfg(test)]
mod tests {
    use shared::archive::layout::{Prefix, Run};
    use shared::ids::TimelineId;

    use super::*;

    #[track_caller]
    fn check(needed: (u32, u64), compacted: u64, expected: u64) {
        let epoch = KeptWal {
            run: Run { epoch: 2, tli: 1 },
            prefix: Prefix {
                timeline: TimelineId::new(),
                system_identifier: 1,
            },
            segment_bytes: 16,
            compacted: Lsn::from_bytes(compacted),
            watermark: Lsn::from_bytes(100),
            kept_from: Lsn::from_bytes(32),
            trimmed: Lsn::from_bytes(16),
        };
        let (number, from) = needed;
        let found = kept_from(&epoch, (number, Lsn::from_bytes(from)));
        assert_eq!(found, Lsn::from_bytes(expected));
    }

    #[test]
    fn wal_is_kept_from_the_oldest_backup_on() {
        check((2, 64), 96, 64);
        check((2, 16), 96, 32);
        check((2, 64), 48, 48);
    }

    #[test]
    fn epochs_before_that_of_the_oldest_backup_go_and_later_ones_stay() {
        check((3, 64), 48, 100);
        check((1, 64), 96, 32);
    }
}
