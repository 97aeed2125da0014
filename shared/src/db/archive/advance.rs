//! Moving the watermark.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{Epoch, Retry, stored};
use crate::db::{DbError, fleet::Recorded};
use crate::units::Lsn;

/// How much of an epoch the archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Everything up to here is durable.
    pub watermark: Lsn,
    /// Where the object begins that ends at the watermark; null if none is known to.
    pub tail: Option<Lsn>,
    /// Segments below here are one object each, or will never be.
    pub compacted: Lsn,
}

/// What a push found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How much the archive has now.
    pub to: Position,
    /// When the next segment is tried again that could not be put together; null if none failed.
    pub retry: Option<Retry>,
    /// How far the leader had flushed when the push began.
    pub flush: Lsn,
    /// Moment right before that was looked at, by the clock of the leader; null if it was not told.
    pub looked_at: Option<DateTime<Utc>>,
}

impl Progress {
    /// Whether everything is in the archive that was flushed when the push began.
    pub fn is_drained(&self) -> bool {
        self.to.watermark >= self.flush
    }

    /// Moment before which everything that was committed is in the archive; null if the push does not
    /// tell.
    pub fn complete_until(&self) -> Option<DateTime<Utc>> {
        self.looked_at.filter(|_| self.is_drained())
    }

    /// Whether anything is different from what is stored: an idle database makes no write.
    pub fn is_news_for(&self, epoch: &Epoch) -> bool {
        let moved = self.to != epoch.position() || self.retry != epoch.retry;
        let known = epoch
            .behind
            .is_some_and(|behind| behind.lsn > self.to.watermark);
        let drained = self.is_drained();
        let is_complete = epoch
            .complete
            .is_some_and(|complete| complete.lsn >= self.to.watermark);
        moved
            || (drained && epoch.behind.is_some())
            || (!drained && !known)
            || (self.complete_until().is_some() && !is_complete)
    }
}

impl Epoch {
    /// How much of it the archive has.
    pub fn position(&self) -> Position {
        Position {
            watermark: self.watermark,
            tail: self.tail,
            compacted: self.compacted,
        }
    }
}

/// Records what a push found out about `epoch`, which must be as it was loaded and not sealed.
///
/// What waits is measured from one position that was seen waiting: it counts until the watermark
/// has passed it, and then from the next one.
pub async fn advance(
    ex: impl PgExecutor<'_>,
    epoch: &Epoch,
    progress: &Progress,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update epochs
        set
            watermark_lsn = $5,
            watermark_at = case when $5 > watermark_lsn then $8 else watermark_at end,
            complete_until = coalesce($12, complete_until),
            complete_lsn = case when $12::timestamptz is null then complete_lsn else $5 end,
            tail_lsn = $9,
            tail_end_lsn = case when $9::bigint is null then null else $5 end,
            compacted_lsn = $6,
            compaction_failures = $10,
            compaction_retry_at = $11,
            flush_lsn = $7,
            behind_lsn = case
                when $5 >= $7 then null
                when behind_lsn > $5 then behind_lsn
                else $7
            end,
            behind_since = case
                when $5 >= $7 then null
                when behind_lsn > $5 then behind_since
                else $8
            end
        where
            timeline_id = $1
            and number = $2
            and watermark_lsn = $3
            and compacted_lsn = $4
            and sealed_at is null
            and $5 >= watermark_lsn
            and $6 >= compacted_lsn
        "#,
        epoch.record.timeline.as_uuid(),
        i32::try_from(epoch.record.number).unwrap_or(i32::MAX),
        stored(epoch.watermark),
        stored(epoch.compacted),
        stored(progress.to.watermark),
        stored(progress.to.compacted),
        stored(progress.flush),
        now,
        progress.to.tail.map(stored),
        progress.retry.map_or(0, |retry| {
            i32::try_from(retry.failures).unwrap_or(i32::MAX)
        }),
        progress.retry.map(|retry| retry.at),
        progress.complete_until(),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("advance a watermark"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Records that the WAL from the watermark of `epoch` up to `to`, the start of a segment, was
/// removed before it was in the archive, and goes on from there.
pub async fn record_gap(
    ex: impl PgExecutor<'_>,
    epoch: &Epoch,
    to: Lsn,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with jumped as (
            update epochs
            set
                watermark_lsn = $4,
                watermark_at = $5,
                complete_until = null,
                complete_lsn = null,
                tail_lsn = null,
                tail_end_lsn = null,
                compacted_lsn = $4,
                compaction_failures = 0,
                compaction_retry_at = null,
                behind_lsn = case when behind_lsn > $4 then behind_lsn end,
                behind_since = case when behind_lsn > $4 then behind_since end
            where
                timeline_id = $1
                and number = $2
                and watermark_lsn = $3
                and sealed_at is null
                and $4 > watermark_lsn
            returning timeline_id, number
        )
        insert into gaps (timeline_id, epoch_number, from_lsn, to_lsn, found_at, reached_at)
        select timeline_id, number, $3, $4, $5, $6
        from jumped
        "#,
        epoch.record.timeline.as_uuid(),
        i32::try_from(epoch.record.number).unwrap_or(i32::MAX),
        stored(epoch.watermark),
        stored(to),
        now,
        epoch.complete.map(|complete| complete.until),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("record a gap"))?;
    Ok(Recorded::of(done.rows_affected()))
}
