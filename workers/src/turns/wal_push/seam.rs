//! Where a push goes on from what is archived, and what the leader must keep for that.

use shared::agent_api::wal::Seam;
use shared::archive::chain::segment_start;
use shared::archive::store::StoreError;
use shared::db::archive::Epoch;
use shared::units::Lsn;

use super::Slice;

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
/// object of the chain: what it has written since can only be joined to that.
pub(super) fn safe(epoch: &Epoch) -> Lsn {
    let tail = epoch.tail.unwrap_or(epoch.compacted);
    let kept = segment_start(tail, epoch.record.segment_bytes);
    epoch.compacted.min(kept)
}
