//! Timelines of which something may be deleted from the archive: whether it is, their job decides.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::expiry::failed_before;
use crate::archive::retention::KEEP_MARKED;
use crate::db::DbError;
use crate::ids::TimelineId;

/// Timelines of which something was marked, let go of or given up, and is not deleted yet; at most
/// 1,000.
pub async fn with_leftovers(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<TimelineId>, DbError> {
    sqlx::query_scalar!(
        r#"
        select timelines.id as "timeline: TimelineId"
        from timelines
        where
            timelines.archive_deleted_at is null
            and (
                exists (
                    select
                    from backups
                    where
                        backups.timeline_id = timelines.id
                        and (
                            (backups.state = 'failed' and backups.finished_at < $1)
                            or (
                                backups.state = 'expiring'
                                and (
                                    backups.start_lsn is null
                                    or backups.expiring_at is null
                                    or backups.deletion_began_at is not null
                                    or backups.expiring_at <= $3
                                    -- Marked by a clock that had jumped.
                                    or backups.expiring_at > $2
                                )
                            )
                        )
                )
                or exists (
                    select
                    from epochs
                    where
                        epochs.timeline_id = timelines.id
                        and epochs.kept_from_lsn > coalesce(epochs.trimmed_lsn, epochs.start_lsn)
                )
            )
        order by timelines.id
        limit 1000
        "#,
        failed_before(now),
        now,
        now - KEEP_MARKED,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list what is to be deleted"))
}

/// Timelines with a leader that have more backups than their plan keeps, at most 1,000.
pub async fn past_retention(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<TimelineId>, DbError> {
    sqlx::query_scalar!(
        r#"
        select participants.timeline_id as "timeline: TimelineId"
        from participants
        join servers on servers.id = participants.server_id
        join plans on plans.name = servers.plan
        where
            participants.role = 'leader'
            and participants.state <> 'removed'
            and (
                select count(*)
                from backups
                where
                    backups.timeline_id = participants.timeline_id
                    and backups.state = 'finished'
                    and backups.finished_at
                        <= $1::timestamptz - plans.retention_s * interval '1 second'
            ) > 1
        order by participants.timeline_id
        limit 1000
        "#,
        now,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list who has more than is kept"))
}

/// Timelines that ended so long ago that their archive is not kept, at most 1,000.
pub async fn past_their_end(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<TimelineId>, DbError> {
    sqlx::query_scalar!(
        r#"
        select timelines.id as "timeline: TimelineId"
        from timelines
        join participants on participants.timeline_id = timelines.id
        join servers on servers.id = participants.server_id
        join plans on plans.name = servers.plan
        left join resources on resources.participant_id = participants.id
        where timelines.archive_deleted_at is null
        group by timelines.id
        having
            bool_and(participants.state = 'removed' and resources.id is null)
            and max(participants.state_since)
                <= $1::timestamptz - max(plans.keep_destroyed_s) * interval '1 second'
        order by timelines.id
        limit 1000
        "#,
        now,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list whose archive is not kept"))
}
