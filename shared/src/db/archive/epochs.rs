//! Rows of epochs.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{Behind, lsn, stored};
use crate::archive::epoch::{EpochRecord, Parent};
use crate::db::{DbError, fleet::Recorded};
use crate::ids::{ParticipantId, RequestId, TimelineId};
use crate::units::Lsn;

/// An epoch, and how much of it the archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// What is written down about it once.
    pub record: EpochRecord,
    /// Everything from the start up to here is durable in the archive, but for gaps.
    pub watermark: Lsn,
    /// Moment the watermark last moved.
    pub watermark_at: DateTime<Utc>,
    /// Up to when everything that was committed is in the archive; null while that is not known.
    pub complete: Option<Complete>,
    /// Where the object begins that ends at the watermark; null if nothing is before the watermark,
    /// as at the start and behind a gap.
    pub tail: Option<Lsn>,
    /// Segments below here are one object each, or will never be.
    pub compacted: Lsn,
    /// When the next segment is tried again that could not be put together; null if none failed.
    pub retry: Option<Retry>,
    /// How far the leader had flushed when WAL was last recorded.
    pub flush: Lsn,
    /// What is known to wait for the archive; null when nothing is.
    pub behind: Option<Behind>,
    /// Moment nothing more of it was accepted; null while it is written.
    pub sealed_at: Option<DateTime<Utc>>,
}

/// Everything that was committed up to a moment is in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complete {
    /// What was committed before this moment, by the clock of the leader, is there.
    pub until: DateTime<Utc>,
    /// The watermark when that was noted: where it still is, nothing was written since that a push
    /// has seen.
    pub lsn: Lsn,
}

impl Epoch {
    /// Whether `participant` may add to it: it is the leader that it was begun by, and not sealed.
    pub fn is_written_by(&self, participant: ParticipantId) -> bool {
        self.sealed_at.is_none() && self.record.participant == participant
    }
}

/// A segment that could not be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Times in a row (≥ 1).
    pub failures: u32,
    /// Moment before which it is not tried again.
    pub at: DateTime<Utc>,
}

/// The columns of an epoch as they are stored.
pub(super) struct Row {
    pub(super) timeline: TimelineId,
    pub(super) number: i32,
    pub(super) participant: ParticipantId,
    pub(super) generation: i64,
    pub(super) tli: i32,
    pub(super) system_identifier: String,
    pub(super) segment_bytes: i32,
    pub(super) start_lsn: i64,
    pub(super) parent_timeline: Option<TimelineId>,
    pub(super) parent_number: Option<i32>,
    pub(super) cut_lsn: Option<i64>,
    pub(super) watermark_lsn: i64,
    pub(super) watermark_at: DateTime<Utc>,
    pub(super) complete_until: Option<DateTime<Utc>>,
    pub(super) complete_lsn: Option<i64>,
    pub(super) tail_lsn: Option<i64>,
    pub(super) tail_end_lsn: Option<i64>,
    pub(super) compacted_lsn: i64,
    pub(super) compaction_failures: i32,
    pub(super) compaction_retry_at: Option<DateTime<Utc>>,
    pub(super) flush_lsn: i64,
    pub(super) behind_lsn: Option<i64>,
    pub(super) behind_since: Option<DateTime<Utc>>,
    pub(super) sealed_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Epoch {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let system_identifier =
            row.system_identifier
                .parse()
                .map_err(|error: std::num::ParseIntError| DbError::Malformed {
                    action: "read an epoch",
                    column: "epochs.system_identifier",
                    source: error.into(),
                })?;
        let parent = row.parent_timeline.zip(row.parent_number.zip(row.cut_lsn));
        Ok(Self {
            record: EpochRecord {
                timeline: row.timeline,
                number: row.number.unsigned_abs(),
                system_identifier,
                tli: row.tli.unsigned_abs(),
                segment_bytes: row.segment_bytes.unsigned_abs(),
                start: lsn(row.start_lsn),
                participant: row.participant,
                generation: row.generation.unsigned_abs(),
                parent: parent.map(|(timeline, (epoch, cut))| Parent {
                    timeline,
                    epoch: epoch.unsigned_abs(),
                    cut: lsn(cut),
                }),
                created_at: row.created_at,
            },
            watermark: lsn(row.watermark_lsn),
            watermark_at: row.watermark_at,
            complete: complete(row.complete_until, row.complete_lsn),
            tail: tail(row.tail_lsn, row.tail_end_lsn, row.watermark_lsn),
            compacted: lsn(row.compacted_lsn),
            retry: row.compaction_retry_at.map(|at| Retry {
                failures: row.compaction_failures.unsigned_abs(),
                at,
            }),
            flush: lsn(row.flush_lsn),
            behind: row
                .behind_lsn
                .zip(row.behind_since)
                .map(|(at, since)| Behind {
                    lsn: lsn(at),
                    since,
                }),
            sealed_at: row.sealed_at,
        })
    }
}

fn complete(until: Option<DateTime<Utc>>, at: Option<i64>) -> Option<Complete> {
    let both = until.zip(at);
    both.map(|(until, at)| Complete {
        until,
        lsn: lsn(at),
    })
}

/// A tail that was recorded with another watermark is that of some earlier object: who moved the
/// watermark since did not know of tails.
fn tail(start: Option<i64>, end: Option<i64>, watermark: i64) -> Option<Lsn> {
    start.filter(|_| end == Some(watermark)).map(lsn)
}

/// The newest epoch of a timeline; null before the first.
pub async fn current_epoch(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<Option<Epoch>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select
            timeline_id as "timeline: TimelineId",
            number,
            participant_id as "participant: ParticipantId",
            generation, tli, system_identifier, segment_bytes, start_lsn,
            parent_timeline_id as "parent_timeline: TimelineId",
            parent_number, cut_lsn,
            watermark_lsn, watermark_at, complete_until, complete_lsn, tail_lsn, tail_end_lsn,
            compacted_lsn,
            compaction_failures, compaction_retry_at, flush_lsn, behind_lsn, behind_since,
            sealed_at, created_at
        from epochs
        where timeline_id = $1
        order by number desc
        limit 1
        "#,
        timeline.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("read the current epoch"))?;
    row.map(Epoch::try_from).transpose()
}

/// Begins an epoch; one of that number that is there already stays as it is. Tells whether it is
/// new.
pub async fn begin_epoch(
    ex: impl PgExecutor<'_>,
    record: &EpochRecord,
    request_id: RequestId,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let done = sqlx::query!(
        r#"
        with branched as (
            update timelines
            set branch_lsn = $10
            where id = $1 and parent_id is not null and branch_lsn is null
        )
        insert into epochs (
            timeline_id, number, participant_id, generation, tli, system_identifier, segment_bytes,
            start_lsn, parent_number, cut_lsn, watermark_lsn, watermark_at, compacted_lsn,
            flush_lsn, request_id, created_at, parent_timeline_id
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $8, $11, $8, $8, $12, $13, $14)
        on conflict (timeline_id, number) do nothing
        "#,
        record.timeline.as_uuid(),
        number(record.number),
        record.participant.as_uuid(),
        i64::try_from(record.generation).unwrap_or(i64::MAX),
        number(record.tli),
        record.system_identifier.to_string(),
        number(record.segment_bytes),
        stored(record.start),
        record.parent.map(|parent| number(parent.epoch)),
        record.parent.map(|parent| stored(parent.cut)),
        now,
        request_id.as_uuid(),
        record.created_at,
        record.parent.map(|parent| parent.timeline.as_uuid()),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("begin an epoch"))?;
    Ok(done.rows_affected() == 1)
}

/// Seals an epoch: nothing that is pushed later is recorded any more. Its watermark must still be
/// `watermark`.
pub async fn seal_epoch(
    ex: impl PgExecutor<'_>,
    (timeline, number): (TimelineId, u32),
    watermark: Lsn,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update epochs
        set sealed_at = $4
        where timeline_id = $1 and number = $2 and watermark_lsn = $3 and sealed_at is null
        "#,
        timeline.as_uuid(),
        i32::try_from(number).unwrap_or(i32::MAX),
        stored(watermark),
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("seal an epoch"))?;
    Ok(Recorded::of(done.rows_affected()))
}
