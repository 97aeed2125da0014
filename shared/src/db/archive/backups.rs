//! Rows of base backups.
//!
//! A row is there before its agent is told, so that names of objects are known whatever dies; its
//! state only changes by compare-and-set, and at most one of a timeline runs.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::stored;
use crate::archive::layout::Run;
use crate::archive::sentinel::Sentinel;
use crate::db::{DbError, fleet::Recorded};
use crate::domain::BackupReason;
use crate::ids::{BackupId, ParticipantId, RequestId, TimelineId};
use crate::units::Lsn;

/// A backup to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewBackup {
    /// Id it gets.
    pub id: BackupId,
    /// Timeline it is of.
    pub timeline: TimelineId,
    /// Epoch and `tli` it is made in.
    pub run: Run,
    /// Participant it is taken from: the leader of the epoch, or a follower.
    pub participant: ParticipantId,
    /// Why.
    pub reason: BackupReason,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Moment it begins.
    pub now: DateTime<Utc>,
}

/// Begins a backup, if its job still waits and no other one of the timeline runs. Tells whether it
/// did.
pub async fn begin_backup(ex: impl PgExecutor<'_>, new: &NewBackup) -> Result<bool, DbError> {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let done = sqlx::query!(
        r#"
        insert into backups (
            id, timeline_id, epoch_number, tli, participant_id, reason, started_at, moved_at,
            request_id
        )
        select $1, subject_id, $3, $4, $5, $6, $7, $7, $8
        from jobs
        where kind = 'base_backup' and subject_id = $2 and state = 'pending'
        on conflict (timeline_id) where state = 'running' do nothing
        "#,
        new.id.as_uuid(),
        new.timeline.as_uuid(),
        number(new.run.epoch),
        number(new.run.tli),
        new.participant.as_uuid(),
        new.reason.as_str(),
        new.now,
        new.request_id.as_uuid(),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("begin a backup"))?;
    Ok(done.rows_affected() == 1)
}

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes of files that are in the archive.
    pub bytes_done: u64,
    /// Bytes of all files; 0 before they are listed.
    pub bytes_total: u64,
}

/// Notes that the agent works on a running backup, and how far it is. Never goes back, so that a
/// late word does no harm.
pub async fn note_backup_progress(
    ex: impl PgExecutor<'_>,
    backup: BackupId,
    progress: BackupProgress,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    sqlx::query!(
        r#"
        update backups
        set
            ordered_at = coalesce(ordered_at, $4),
            bytes_done = greatest(bytes_done, $2),
            bytes_total = greatest(bytes_total, $3),
            moved_at = $4
        where
            id = $1
            and state = 'running'
            and (ordered_at is null or bytes_done < $2 or bytes_total < $3)
        "#,
        backup.as_uuid(),
        number(progress.bytes_done),
        number(progress.bytes_total),
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note the progress of a backup"))?;
    Ok(())
}

/// Records that a running backup is complete, as its sentinel in the archive says; ends its job, and
/// the requests that waited for it.
pub async fn finish_backup(
    ex: impl PgExecutor<'_>,
    sentinel: &Sentinel,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let finished = sqlx::query_scalar!(
        r#"
        with finished as (
            update backups
            set
                state = 'finished',
                start_lsn = $2,
                stop_lsn = $3,
                stopped_at = $4,
                plain_bytes = $5,
                stored_bytes = $6,
                pieces = $7,
                damaged_pages = $8,
                bytes_done = greatest(bytes_done, $5),
                bytes_total = greatest(bytes_total, $5),
                finished_at = $9,
                moved_at = $9
            where id = $1 and state = 'running'
            returning timeline_id
        ),
        ended_job as (
            delete from jobs
            where kind = 'base_backup' and subject_id in (select timeline_id from finished)
        ),
        answered as (
            update operations
            set state = 'succeeded', finished_at = $9
            where
                kind = 'capture'
                and state = 'pending'
                and resource_id in (
                    select resources.id
                    from resources
                    join participants on participants.id = resources.participant_id
                    join finished on finished.timeline_id = participants.timeline_id
                )
        )
        select exists (select from finished) as "finished!"
        "#,
        sentinel.backup.as_uuid(),
        stored(sentinel.start_lsn),
        stored(sentinel.stop_lsn),
        sentinel.stopped_at,
        number(sentinel.plain_bytes),
        number(sentinel.stored_bytes),
        i32::try_from(sentinel.pieces).unwrap_or(i32::MAX),
        number(sentinel.damaged_pages),
        now,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("record that a backup is complete"))?;
    Ok(Recorded::of(u64::from(finished)))
}

/// Whether a backup runs or was finished once, so that it may have a sentinel: not one that was given
/// up, or forgotten.
pub async fn may_have_sentinel(ex: impl PgExecutor<'_>, backup: BackupId) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"
        select exists (
            select
            from backups
            where id = $1 and (state in ('running', 'finished') or start_lsn is not null)
        ) as "may_have!"
        "#,
        backup.as_uuid(),
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("look whether a backup may have a sentinel"))
}

/// Whether WAL of an epoch between two positions is lost to the archive.
pub async fn is_gap_within(
    ex: impl PgExecutor<'_>,
    (timeline, epoch): (TimelineId, u32),
    (from, to): (Lsn, Lsn),
) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"
        select exists (
            select
            from gaps
            where timeline_id = $1 and epoch_number = $2 and to_lsn > $3 and from_lsn < $4
        ) as "is_gap!"
        "#,
        timeline.as_uuid(),
        i32::try_from(epoch).unwrap_or(i32::MAX),
        stored(from),
        stored(to),
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("look for a gap during a backup"))
}

/// Gives a running backup up.
pub async fn fail_backup(
    ex: impl PgExecutor<'_>,
    backup: BackupId,
    problem: &str,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update backups
        set state = 'failed', problem = left($2, 2000), finished_at = $3
        where id = $1 and state = 'running'
        "#,
        backup.as_uuid(),
        problem,
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("give a backup up"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Ends the requests for a backup of `timeline` that wait, without one; tells how many.
pub async fn fail_captures(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
    error: &str,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        update operations
        set state = 'failed', error = left($2, 2000), finished_at = $3
        where
            kind = 'capture'
            and state = 'pending'
            and resource_id in (
                select resources.id
                from resources
                join participants on participants.id = resources.participant_id
                where participants.timeline_id = $1
            )
        "#,
        timeline.as_uuid(),
        error,
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("end the requests for a backup"))?;
    Ok(done.rows_affected())
}
