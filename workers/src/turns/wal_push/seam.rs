//! Where a push goes on from what is archived, and what the leader must keep for that.

use shared::agent_api::wal::Seam;
use shared::archive::chain::segment_start;
use shared::archive::store::StoreError;
use shared::db::archive::Epoch;
use shared::domain::WalRoom;
use shared::units::Lsn;

use super::Slice;

/// Most segments that a leader keeps because they are to be put together: a gigabyte of the usual
/// size.
const KEPT_SEGMENTS: u64 = 64;

/// The part of what it may keep for the archive that they may be, so that there is room for what is
/// not archived yet.
const KEPT_PART: u64 = 4;

impl Slice<'_> {
    /// What the archive has right before the watermark of `epoch`.
    pub(super) async fn seam(&self, epoch: &Epoch) -> Result<Option<Seam>, StoreError> {
        let Some(tail) = epoch.tail else {
            return Ok(None);
        };
        let (prefix, run) = (epoch.record.prefix(), epoch.record.run());
        let mut names = vec![(tail, prefix.chunk(run, tail))];
        let segment = segment_start(tail, epoch.record.segment_bytes);
        if segment < tail && epoch.compacted >= epoch.watermark {
            names.push((segment, prefix.segment(run, segment)));
        }
        let objects = self.archive.archived(names).await?;
        let end = epoch.watermark;
        Ok(Some(Seam { end, objects }))
    }
}

/// What the leader does not need for the archive any more. It keeps the segment with the newest
/// object of the chain: what it has written since can only be joined to that. It keeps what is to be
/// put together too, as long as that comes forward: chunks are durable, and a disk is worth more than
/// fewer objects.
pub(super) fn safe(epoch: &Epoch, compacts: bool, room: WalRoom) -> Lsn {
    let bytes = epoch.record.segment_bytes;
    let most = (KEPT_SEGMENTS * u64::from(bytes)).min(room.kept_bytes / KEPT_PART);
    let durable = segment_start(epoch.tail.unwrap_or(epoch.watermark), bytes);
    let waiting = durable.bytes().saturating_sub(epoch.compacted.bytes());
    if compacts && epoch.retry.is_none() && waiting <= most {
        durable.min(epoch.compacted)
    } else {
        durable
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use shared::archive::epoch::EpochRecord;
    use shared::db::archive::Retry;
    use shared::ids::{ParticipantId, TimelineId};

    use super::*;

    const SEGMENT: u64 = 16 << 20;

    fn epoch(tail: Option<u64>, watermark: u64, compacted: u64) -> Epoch {
        let at = Lsn::from_bytes;
        Epoch {
            record: EpochRecord {
                timeline: TimelineId::new(),
                number: 1,
                system_identifier: 7,
                tli: 1,
                segment_bytes: 16 << 20,
                start: at(0),
                participant: ParticipantId::new(),
                generation: 1,
                parent: None,
                created_at: DateTime::UNIX_EPOCH,
            },
            watermark: at(watermark),
            watermark_at: DateTime::UNIX_EPOCH,
            complete: None,
            tail: tail.map(at),
            compacted: at(compacted * SEGMENT),
            retry: None,
            flush: at(watermark),
            behind: None,
            sealed_at: None,
        }
    }

    #[track_caller]
    fn check(epoch: &Epoch, compacts: bool, segments: u64) {
        assert_eq!(
            safe(epoch, compacts, WalRoom::on(None)),
            Lsn::from_bytes(segments * SEGMENT)
        );
    }

    #[test]
    fn the_segment_of_the_newest_object_is_kept() {
        let inside = 5 * SEGMENT + 100;
        check(&epoch(Some(inside), inside + 8, 5), true, 5);
        // The watermark is the end of a segment: what joins to it is in the one before.
        check(&epoch(Some(5 * SEGMENT), 6 * SEGMENT, 6), true, 5);
        check(&epoch(None, 6 * SEGMENT, 6), true, 6);
    }

    #[test]
    fn what_is_to_be_put_together_is_kept_only_while_that_comes_forward() {
        let inside = 5 * SEGMENT + 100;
        let mut waiting = epoch(Some(inside), inside + 8, 3);
        check(&waiting, true, 3);
        check(&waiting, false, 5);
        waiting.retry = Some(Retry {
            failures: 1,
            at: DateTime::UNIX_EPOCH,
        });
        check(&waiting, true, 5);
        let far = 100 * SEGMENT + 100;
        check(&epoch(Some(far), far + 8, 3), true, 100);
    }
}
