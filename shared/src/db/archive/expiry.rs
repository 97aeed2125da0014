//! What is stored about what may be deleted from the archive. Each write only marks or confirms: no
//! row says that something is there which may be gone.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool, Postgres, Transaction};

use super::{lsn, stored};
use crate::archive::SIGNED_FOR;
use crate::archive::layout::{Prefix, Run};
use crate::archive::retention::Held;
use crate::db::{DbError, fleet::Recorded};
use crate::domain::BackupState;
use crate::ids::{BackupId, RequestId, TimelineId};
use crate::units::Lsn;

/// Seconds after the last signed request of a backup has expired, before its objects are deleted:
/// what is uploaded by a late one would stay for ever.
const SLACK_S: i64 = 300;

/// A timeline, and what decides what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryRow {
    /// The timeline.
    pub timeline: TimelineId,
    /// Request that asked.
    pub request_id: RequestId,
    /// Seconds back to which it can be restored.
    pub retention_s: i32,
    /// Seconds for which it is kept after its end.
    pub keep_destroyed_s: i32,
    /// Moment its last participant was gone; null while it lives.
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether something that is or will be restored needs all of it.
    pub is_pinned: bool,
}

/// Moment before which backups must have failed for their objects to be deleted.
pub(super) fn failed_before(now: DateTime<Utc>) -> DateTime<Utc> {
    let seconds = i64::try_from(SIGNED_FOR.as_secs()).unwrap_or(i64::MAX);
    now - chrono::TimeDelta::seconds(seconds.saturating_add(SLACK_S))
}

/// What decides what is kept of `timeline`; null if nobody asks, or nothing is left of it.
pub async fn load_expiry(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<Option<ExpiryRow>, DbError> {
    sqlx::query_as!(
        ExpiryRow,
        r#"
        select
            timelines.id as "timeline: TimelineId",
            jobs.request_id as "request_id: RequestId",
            plans.retention_s,
            plans.keep_destroyed_s,
            -- As long as anything is there, or a customer counts on it, it has not ended.
            case
                when participants.state = 'removed'
                    and not exists (
                        select
                        from resources
                        join participants as own on own.id = resources.participant_id
                        where own.timeline_id = timelines.id
                    )
                    then participants.state_since
            end as ended_at,
            is_pinned(timelines.id) as "is_pinned!"
        from jobs
        join timelines on timelines.id = jobs.subject_id
        join participants on participants.timeline_id = timelines.id
        join servers on servers.id = participants.server_id
        join plans on plans.name = servers.plan
        where
            jobs.kind = 'expire'
            and jobs.subject_id = $1
            and jobs.state = 'pending'
            and timelines.archive_deleted_at is null
        order by
            (participants.state = 'removed'),
            (participants.role <> 'leader'),
            participants.state_since desc
        limit 1
        "#,
        timeline.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("load what decides what is kept"))
}

/// A backup that is not under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptBackup {
    /// The backup.
    pub id: BackupId,
    /// Where it stands.
    pub state: BackupState,
    /// Where its objects are.
    pub prefix: Prefix,
    /// Moment it was finished or failed.
    pub finished_at: DateTime<Utc>,
    /// Moment it was marked to be deleted, while nothing of it is deleted; null otherwise, and if
    /// nothing could ever be restored from it.
    pub marked_at: Option<DateTime<Utc>>,
    /// What decides whether it is kept; null unless it is finished, or was when it was marked.
    pub held: Option<Held>,
}

impl KeptBackup {
    /// Whether it failed so long ago that nothing is uploaded for it any more.
    pub fn may_be_cleaned_up(&self, now: DateTime<Utc>) -> bool {
        self.state == BackupState::Failed && self.finished_at < failed_before(now)
    }
}

/// Backups of a timeline that are not under way, in order.
pub async fn kept_backups(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<Vec<KeptBackup>, DbError> {
    let rows = sqlx::query!(
        r#"
        select
            backups.id as "id: BackupId",
            backups.state as "state: BackupState",
            backups.epoch_number,
            backups.start_lsn,
            backups.damaged_pages,
            backups.finished_at as "finished_at!",
            backups.expiring_at,
            backups.deletion_began_at,
            backups.id in (select backups_on_line($1)) as "is_on_line!",
            epochs.system_identifier
        from backups
        join epochs
            on epochs.timeline_id = backups.timeline_id and epochs.number = backups.epoch_number
        where backups.timeline_id = $1 and backups.state <> 'running'
        order by backups.id
        "#,
        timeline.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the backups of a timeline"))?;
    rows.into_iter()
        .map(|row| {
            let marked_at = row
                .expiring_at
                .filter(|_| row.deletion_began_at.is_none() && row.start_lsn.is_some());
            let is_whole = row.state == BackupState::Finished || marked_at.is_some();
            let start = row.start_lsn.filter(|_| is_whole);
            Ok(KeptBackup {
                id: row.id,
                state: row.state,
                prefix: prefix(timeline, &row.system_identifier)?,
                finished_at: row.finished_at,
                marked_at,
                held: start.map(|start| Held {
                    id: row.id,
                    epoch: row.epoch_number.unsigned_abs(),
                    start: lsn(start),
                    finished_at: row.finished_at,
                    is_damaged: row.damaged_pages.is_some_and(|pages| pages > 0),
                    is_on_line: row.is_on_line,
                }),
            })
        })
        .collect()
}

/// How much WAL of an epoch is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptWal {
    /// What it is filed under.
    pub run: Run,
    /// Where it is.
    pub prefix: Prefix,
    /// Size of a segment in bytes.
    pub segment_bytes: u32,
    /// Segments below here are one object each, or will never be.
    pub compacted: Lsn,
    /// Everything from the start up to here was in the archive once.
    pub watermark: Lsn,
    /// WAL before this is not kept.
    pub kept_from: Lsn,
    /// WAL before this is deleted for sure.
    pub trimmed: Lsn,
}

/// How much WAL of each epoch of a timeline is kept, in order.
pub async fn kept_wal(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<Vec<KeptWal>, DbError> {
    let rows = sqlx::query!(
        r#"
        select
            number,
            tli,
            system_identifier,
            segment_bytes,
            compacted_lsn,
            watermark_lsn,
            coalesce(kept_from_lsn, start_lsn) as "kept_from!",
            coalesce(trimmed_lsn, start_lsn) as "trimmed!"
        from epochs
        where timeline_id = $1
        order by number
        "#,
        timeline.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list how much WAL is kept"))?;
    rows.into_iter()
        .map(|row| {
            Ok(KeptWal {
                run: Run {
                    epoch: row.number.unsigned_abs(),
                    tli: row.tli.unsigned_abs(),
                },
                prefix: prefix(timeline, &row.system_identifier)?,
                segment_bytes: row.segment_bytes.unsigned_abs(),
                compacted: lsn(row.compacted_lsn),
                watermark: lsn(row.watermark_lsn),
                kept_from: lsn(row.kept_from),
                trimmed: lsn(row.trimmed),
            })
        })
        .collect()
}

fn prefix(timeline: TimelineId, system_identifier: &str) -> Result<Prefix, DbError> {
    let parsed = system_identifier.parse();
    Ok(Prefix {
        timeline,
        system_identifier: parsed.map_err(|error: std::num::ParseIntError| DbError::Malformed {
            action: "read where an archive is",
            column: "epochs.system_identifier",
            source: error.into(),
        })?,
    })
}

/// A transaction in which nothing begins to need a timeline: whoever plans a restore takes the same
/// lock ([`hold_restore`](super::hold_restore)), and what it planned before is seen.
struct Unpinned(Transaction<'static, Postgres>);

impl Unpinned {
    async fn lock(pool: &PgPool, timeline: TimelineId) -> Result<Self, DbError> {
        let failed = DbError::during("lock a timeline");
        let mut transaction = pool.begin().await.map_err(failed)?;
        sqlx::query!(
            "select id from timelines where id = $1 for update",
            timeline.as_uuid(),
        )
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        Ok(Self(transaction))
    }

    async fn commit(self, rows: u64) -> Result<Recorded, DbError> {
        let failed = DbError::during("mark what is to be deleted");
        self.0.commit().await.map_err(failed)?;
        Ok(Recorded::of(rows))
    }
}

/// Marks a backup whose objects shall be deleted: from now on nothing is restored from it.
///
/// A finished one must not be needed for any moment since `keep_since`: one of the living history was
/// finished before that, and is newer unless this one is of no living history. Null: the whole timeline goes, of which nothing may live.
pub async fn mark_expiring(
    pool: &PgPool,
    (timeline, backup): (TimelineId, BackupId),
    keep_since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let mut unpinned = Unpinned::lock(pool, timeline).await?;
    let done = sqlx::query!(
        r#"
        update backups
        set state = 'expiring', expiring_at = $3
        where
            id = $1
            and (
                state = 'failed'
                or (
                    state = 'finished'
                    and not is_pinned(timeline_id)
                    and (
                        (
                            $2::timestamptz is null
                            and not exists (
                                select
                                from participants
                                where
                                    participants.timeline_id = backups.timeline_id
                                    and participants.state <> 'removed'
                            )
                        )
                        or exists (
                            select
                            from backups as newer
                            where
                                newer.timeline_id = backups.timeline_id
                                and newer.state = 'finished'
                                and newer.finished_at <= $2
                                and newer.id <> backups.id
                                and newer.id in (select backups_on_line(backups.timeline_id))
                                and (
                                    (newer.finished_at, newer.id)
                                        > (backups.finished_at, backups.id)
                                    or backups.id
                                        not in (select backups_on_line(backups.timeline_id))
                                )
                        )
                    )
                )
            )
        "#,
        backup.as_uuid(),
        keep_since,
        now,
    )
    .execute(&mut *unpinned.0)
    .await
    .map_err(DbError::during("mark a backup to be deleted"))?;
    unpinned.commit(done.rows_affected()).await
}

/// Forgets a backup of which no object is left.
pub async fn forget_backup(ex: impl PgExecutor<'_>, backup: BackupId) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        delete from backups
        where id = $1 and state = 'expiring'
        "#,
        backup.as_uuid(),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("forget a backup"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// From now on the WAL of an epoch before `from` is not kept. Never goes back.
pub async fn keep_wal_from(
    pool: &PgPool,
    (timeline, epoch): (TimelineId, u32),
    from: Lsn,
) -> Result<Recorded, DbError> {
    let mut unpinned = Unpinned::lock(pool, timeline).await?;
    let done = sqlx::query!(
        r#"
        update epochs
        set kept_from_lsn = $3
        where
            timeline_id = $1
            and number = $2
            and coalesce(kept_from_lsn, start_lsn) < $3
            and watermark_lsn >= $3
            and not is_pinned(timeline_id)
        "#,
        timeline.as_uuid(),
        i32::try_from(epoch).unwrap_or(i32::MAX),
        stored(from),
    )
    .execute(&mut *unpinned.0)
    .await
    .map_err(DbError::during("let go of WAL"))?;
    unpinned.commit(done.rows_affected()).await
}

/// Notes that no WAL of an epoch before `to` is left.
pub async fn note_trimmed(
    ex: impl PgExecutor<'_>,
    (timeline, epoch): (TimelineId, u32),
    to: Lsn,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update epochs
        set trimmed_lsn = $3
        where
            timeline_id = $1
            and number = $2
            and coalesce(trimmed_lsn, start_lsn) < $3
            and kept_from_lsn >= $3
        "#,
        timeline.as_uuid(),
        i32::try_from(epoch).unwrap_or(i32::MAX),
        stored(to),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note that WAL is deleted"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Notes that nothing of a timeline is left in the archive.
pub async fn note_archive_deleted(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update timelines
        set archive_deleted_at = $2
        where
            id = $1
            and archive_deleted_at is null
            and not is_pinned(id)
            and not exists (
                select
                from participants
                where participants.timeline_id = timelines.id and participants.state <> 'removed'
            )
        "#,
        timeline.as_uuid(),
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note that an archive is deleted"))?;
    Ok(Recorded::of(done.rows_affected()))
}
