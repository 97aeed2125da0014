//! What the archive has beyond the watermark, told by its objects alone: of a control database that
//! was put back to an older copy, whose leader has removed since what it had in the archive.
//!
//! What the leader still has is not walked over: the next push compares it. So the walk ends at the
//! oldest WAL of the leader, and is believed up to there only if the archive goes on there: the
//! object that begins there is compared with the leader's own WAL before anything is joined to it.

use shared::archive::chain::{Broken, Walk};
use shared::archive::frame::{self, Metadata, PEEK_BYTES};
use shared::archive::store::StoreError;
use shared::db::archive::{Epoch, Position, Progress, advance};
use shared::units::Lsn;

use super::error::PushError;
use super::push::Found;
use super::{Came, Slice};
use crate::ring::TurnError;

/// Most objects of one turn: the next one goes on.
const OBJECTS_MAX: usize = 200;

/// What was found beyond the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beyond {
    /// The chain goes on without a hole up to here.
    pub(super) at: Lsn,
    /// Whether the archive has an object that begins where the leader's WAL does.
    pub(super) meets_the_leader: bool,
}

/// Why an object cannot be walked over.
#[derive(Debug)]
enum Strange {
    Store(StoreError),
    /// It does not belong there, for people.
    Other(String),
}

impl From<StoreError> for Strange {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Broken> for Strange {
    fn from(broken: Broken) -> Self {
        Self::Other(broken.to_string())
    }
}

impl Slice<'_> {
    /// Goes on from what is gone at the leader, if the archive has it. Null if it has not.
    pub(super) async fn take_again(
        &self,
        epoch: &Epoch,
        found: &Found,
        oldest: Lsn,
    ) -> Result<Option<Came>, TurnError> {
        let beyond = match self.beyond(epoch, oldest).await {
            Ok(beyond) => beyond,
            Err(Strange::Store(error)) => return Err(error.into()),
            Err(Strange::Other(detail)) => {
                let at = epoch.watermark;
                self.conflict(at, &detail).await?;
                return Err(PushError::Conflict { at, detail }.into());
            }
        };
        // What was before the leader's WAL is gone there: nothing can be compared with it.
        let lets_go = beyond.meets_the_leader && epoch.tail.is_some();
        if beyond.at <= epoch.watermark && !lets_go {
            return Ok(None);
        }
        let progress = Progress {
            to: Position {
                watermark: beyond.at,
                tail: None,
                compacted: epoch.compacted,
            },
            retry: epoch.retry,
            flush: found.progress.flush,
            looked_at: None,
        };
        if !self.turn.still_mine() {
            return Ok(Some(Came::Overtaken));
        }
        self.context.borders.within().await;
        let (pool, now) = (&self.context.pool, self.context.now());
        if advance(pool, epoch, &progress, now).await?.is_overtaken() {
            return Ok(Some(Came::Overtaken));
        }
        tracing::warn!(
            timeline.id = %self.row.timeline, request_id = %self.row.request_id,
            from = %epoch.watermark, to = %beyond.at,
            "the archive has more than was known of it",
        );
        Ok(Some(Came::PartOfTheWay))
    }

    /// Walks from the watermark up to `oldest`, the start of the segment from which on the leader
    /// has its WAL.
    async fn beyond(&self, epoch: &Epoch, oldest: Lsn) -> Result<Beyond, Strange> {
        let mut walk = Walk::going_on(&epoch.record, epoch.watermark);
        let mut last = walk.at();
        let short = |at| Beyond {
            at,
            meets_the_leader: false,
        };
        for _ in 0..OBJECTS_MAX {
            let Some(object) = self.object_at(epoch, &walk).await? else {
                // Whatever ends right where the leader's WAL begins cannot be joined to that.
                let at = walk.at();
                return Ok(short(if at == oldest { last } else { at }));
            };
            if walk.at() >= oldest {
                return Ok(Beyond {
                    at: walk.at(),
                    meets_the_leader: true,
                });
            }
            last = walk.at();
            walk.over(&object)?;
        }
        Ok(short(last))
    }

    /// What the object says of itself that the walk comes to: the whole segment, if it is there.
    async fn object_at(&self, epoch: &Epoch, walk: &Walk<'_>) -> Result<Option<Metadata>, Strange> {
        let (prefix, run) = (epoch.record.prefix(), epoch.record.run());
        let segment = walk
            .is_at_a_segment()
            .then(|| prefix.segment(run, walk.at()));
        let chunk = prefix.chunk(run, walk.at());
        let head = 0..u64::try_from(PEEK_BYTES).unwrap_or(u64::MAX);
        for key in segment.into_iter().chain([chunk]) {
            if let Some(bytes) = self.archive.store.get(&key, Some(head.clone())).await? {
                let metadata = frame::peek(&bytes);
                return metadata
                    .map(Some)
                    .map_err(|error| Strange::Other(format!("{key}: {error}")));
            }
        }
        Ok(None)
    }
}
