//! Which segments the next push puts together.

use std::time::Duration;

use shared::archive::chain::{Compaction, Listing};
use shared::archive::frame::CONTENT_BYTES_MAX;
use shared::archive::layout::start_in_name;
use shared::archive::store::StoreError;
use shared::db::archive::Epoch;
use shared::units::Lsn;
use tokio::time::timeout;

use super::Slice;

/// Most segments of one push: they must not hold up the chunks.
const SEGMENTS_MAX: usize = 4;

/// Longest time for a listing: chunks that are to be pushed wait for it.
const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// Most names of one listing: a segment that was pushed in this many chunks is known to be in parts.
const LISTED_MAX: u16 = 1000;

impl Slice<'_> {
    /// Segments below the watermark that went up in parts. One that cannot be listed now waits.
    pub(super) async fn compaction(&self, epoch: &Epoch) -> Compaction {
        // What is slow already is not given more to do.
        if self.row.attempts > 0 {
            return Compaction::default();
        }
        match timeout(LIST_PATIENCE, self.look(epoch)).await {
            Ok(Ok(compaction)) => compaction,
            Err(_elapsed) => {
                tracing::warn!(
                    timeline.id = %self.row.timeline, request_id = %self.row.request_id,
                    "the archive is slow to list chunks of WAL",
                );
                Compaction::default()
            }
            Ok(Err(error)) => {
                let source: &dyn std::error::Error = &error;
                tracing::warn!(
                    timeline.id = %self.row.timeline, request_id = %self.row.request_id,
                    error = %shared::telemetry::chain(source), "failed to list chunks of WAL",
                );
                Compaction::default()
            }
        }
    }

    async fn look(&self, epoch: &Epoch) -> Result<Compaction, StoreError> {
        let record = &epoch.record;
        let (compacted, watermark, bytes) =
            (epoch.compacted, epoch.watermark, record.segment_bytes);
        if !Compaction::is_due(compacted, watermark, bytes) {
            return Ok(Compaction::default());
        }
        if usize::try_from(bytes).is_ok_and(|bytes| bytes > CONTENT_BYTES_MAX) {
            return Ok(Compaction::never(compacted, watermark, bytes));
        }
        let (prefix, run) = (record.prefix(), record.run());
        // Names are of fixed width: this one comes right before those that are wanted.
        let before = compacted.bytes().checked_sub(1);
        let after = before.map(|before| prefix.chunk(run, Lsn::from_bytes(before)));
        let chunks = prefix.chunks(run);
        let store = &self.archive.store;
        let listed = store.list(&chunks, after.as_deref(), LISTED_MAX).await?;
        let starts: Vec<Lsn> = listed
            .iter()
            .filter_map(|object| start_in_name(&object.key))
            .collect();
        let listing = Listing {
            starts: &starts,
            is_cut_off: listed.len() == usize::from(LISTED_MAX),
        };
        Ok(Compaction::of(
            compacted,
            watermark,
            bytes,
            listing,
            SEGMENTS_MAX,
        ))
    }
}
