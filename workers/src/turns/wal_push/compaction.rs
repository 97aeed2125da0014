//! Which segments the next push puts together, and what follows if they cannot be.

use std::time::Duration;

use shared::agent_api::wal::Placed;
use shared::archive::chain::{Compaction, Listing};
use shared::archive::frame::CONTENT_BYTES_MAX;
use shared::archive::layout::start_in_name;
use shared::archive::store::StoreError;
use shared::db::archive::{Epoch, Retry};
use shared::domain::ArchiveAlert;
use shared::units::Lsn;
use tokio::time::timeout;

use super::Slice;
use super::push::Found;
use crate::ring::{Backoff, TurnError};

/// Most segments of one push: they must not hold up the chunks.
const SEGMENTS_MAX: usize = 4;

/// Longest time for a listing: chunks that are to be pushed wait for it.
const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// Most names of one listing: a segment that was pushed in this many chunks is known to be in parts.
const LISTED_MAX: u16 = 1000;

/// How often in a row a segment fails before somebody is told: after about three minutes.
const FAILURES_TOLD: u32 = 3;

/// Pauses before a segment is tried again. What fails costs an upload of a whole segment each time.
const PAUSES: Backoff = Backoff::new(Duration::from_mins(1), Duration::from_hours(1));

/// What is to be put together by this push.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The segments.
    pub(super) compaction: Compaction,
    /// Why they could not even be listed.
    pub(super) trouble: Option<String>,
}

impl Slice<'_> {
    /// Segments below the watermark that went up in parts.
    pub(super) async fn plan(&self, epoch: &Epoch) -> Plan {
        if !self.compacts(epoch) {
            return Plan::default();
        }
        match timeout(LIST_PATIENCE, self.look(epoch)).await {
            Ok(Ok(compaction)) => Plan {
                compaction,
                trouble: None,
            },
            Ok(Err(error)) => {
                let source: &dyn std::error::Error = &error;
                self.without_list(shared::telemetry::chain(source).to_string())
            }
            Err(_elapsed) => self.without_list("the archive is slow to list".to_owned()),
        }
    }

    /// Whether segments are put together now. What is slow already is not given more to do, and what
    /// failed is left alone for a while.
    pub(super) fn compacts(&self, epoch: &Epoch) -> bool {
        let waits = epoch
            .retry
            .is_some_and(|retry| self.context.now() < retry.at);
        self.row.attempts == 0 && !waits
    }

    fn without_list(&self, trouble: String) -> Plan {
        tracing::warn!(
            timeline.id = %self.row.timeline, request_id = %self.row.request_id,
            error = trouble, "failed to list chunks of WAL",
        );
        Plan {
            compaction: Compaction::default(),
            trouble: Some(trouble),
        }
    }

    /// When the next segment is tried again after this push, which put segments together up to
    /// `compacted`.
    pub(super) fn retry(
        &self,
        epoch: &Epoch,
        plan: &Plan,
        (compacted, watermark): (Lsn, Lsn),
        outcomes: &[Placed],
    ) -> Option<Retry> {
        let bytes = epoch.record.segment_bytes;
        if compacted > epoch.compacted || !Compaction::is_due(compacted, watermark, bytes) {
            return None;
        }
        if outcomes.is_empty() && plan.trouble.is_none() {
            return epoch.retry;
        }
        let failures = epoch.retry.map_or(0, |retry| retry.failures);
        let failures = failures.saturating_add(1);
        let pause = PAUSES.after(failures, self.turn.salt());
        Some(Retry {
            failures,
            at: self.context.now() + pause,
        })
    }

    /// Tells people if segments could not be put together too often in a row.
    pub(super) async fn tell_of_compaction(
        &self,
        epoch: &Epoch,
        found: &Found,
    ) -> Result<(), TurnError> {
        let Some(retry) = found
            .progress
            .retry
            .filter(|retry| found.progress.retry != epoch.retry && retry.failures >= FAILURES_TOLD)
        else {
            return Ok(());
        };
        let (at, failures) = (epoch.compacted, retry.failures);
        let trouble = found.compaction_trouble.as_deref();
        let detail = format!(
            "the chunks of WAL from {at} on cannot be put together to a segment, {failures} times \
             in a row: {}",
            trouble.unwrap_or("it is not uploaded in time"),
        );
        tracing::error!(
            timeline.id = %self.row.timeline, request_id = %self.row.request_id,
            detail, "segments of WAL stay in parts",
        );
        self.raise(ArchiveAlert::Compaction, &detail).await
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
