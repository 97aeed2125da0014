//! Who waits for the archive, and since when.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::DbError;
use crate::ids::{ResourceId, TimelineId};
use crate::units::Lsn;

/// A position that was flushed and not yet in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// The position.
    pub lsn: Lsn,
    /// Moment it was seen.
    pub since: DateTime<Utc>,
}

/// Notes whose observations show WAL that should have been pushed by now, whoever should have done
/// it: so that a push that never comes is seen too. Tells how many are new. Idempotent.
///
/// Nobody is looked at whose watermark moved within the last two push intervals, so that a busy
/// database costs no write; one that was idle may be noted once for a moment.
pub async fn note_who_is_behind(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        with seen as (
            select
                epochs.timeline_id,
                epochs.number,
                max((observations.body ->> 'wal_lsn')::pg_lsn) - '0/0'::pg_lsn as wal_lsn,
                max(observations.observed_at) as observed_at
            from epochs
            join participants on participants.id = epochs.participant_id
            join servers on servers.id = participants.server_id
            join plans on plans.name = servers.plan
            join resources on resources.participant_id = participants.id
            join observations on observations.resource_id = resources.id
            where
                epochs.sealed_at is null
                and epochs.behind_since is null
                and epochs.watermark_at
                    < $1::timestamptz - 2 * plans.wal_push_interval_ms * interval '1 millisecond'
                and participants.destroy_requested_at is null
            group by epochs.timeline_id, epochs.number
        )
        update epochs
        set behind_lsn = seen.wal_lsn::bigint, behind_since = seen.observed_at
        from seen
        where
            epochs.timeline_id = seen.timeline_id
            and epochs.number = seen.number
            and epochs.behind_since is null
            and epochs.sealed_at is null
            and seen.wal_lsn > epochs.watermark_lsn
        "#,
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note who waits for the archive"))?;
    Ok(done.rows_affected())
}

/// A timeline that waits for the archive, or about which somebody was told that it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lagging {
    /// Which timeline.
    pub timeline: TimelineId,
    /// The resource it belongs to; null if many share it.
    pub resource: Option<ResourceId>,
    /// Moment of the oldest position that waits, or of the wish to push if there is no epoch yet;
    /// null if nothing waits.
    pub since: Option<DateTime<Utc>>,
    /// Bytes that are known to wait.
    pub bytes: i64,
    /// Seconds that its plan allows.
    pub grace_s: i32,
    /// Whether somebody was told.
    pub alert_is_open: bool,
}

/// Timelines that wait for the archive, and those of which the alert can be cleared; those that wait
/// longest first, at most 1,000.
pub async fn lagging(ex: impl PgExecutor<'_>) -> Result<Vec<Lagging>, DbError> {
    sqlx::query_as!(
        Lagging,
        r#"
        with latest as (
            select
                jobs.subject_id as timeline_id,
                plans.archive_grace_s,
                case when epochs.number is null then jobs.created_at else epochs.behind_since end
                    as since,
                coalesce(epochs.behind_lsn - epochs.watermark_lsn, 0) as bytes,
                exists (
                    select
                    from alerts
                    where
                        alerts.name = 'archive-behind'
                        and alerts.subject_id = jobs.subject_id
                        and alerts.cleared_at is null
                ) as alert_is_open,
                (
                    select resources.id
                    from resources
                    where resources.participant_id = participants.id and plans.dedicated
                    limit 1
                ) as resource_id
            from jobs
            join participants
                on participants.timeline_id = jobs.subject_id
                and participants.role = 'leader'
                and participants.state <> 'removed'
                and participants.destroy_requested_at is null
            join servers on servers.id = participants.server_id
            join plans on plans.name = servers.plan
            left join lateral (
                select number, behind_lsn, behind_since, watermark_lsn
                from epochs
                where epochs.timeline_id = jobs.subject_id
                order by number desc
                limit 1
            ) as epochs on true
            where jobs.kind = 'wal_push'
        )
        select
            timeline_id as "timeline: TimelineId",
            resource_id as "resource?: ResourceId",
            since,
            bytes as "bytes!",
            archive_grace_s as grace_s,
            alert_is_open as "alert_is_open!"
        from latest
        where since is not null or alert_is_open
        order by since, timeline_id
        limit 1000
        "#,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list who waits for the archive"))
}

/// Timelines with an open alert about a gap that a finished base backup lies behind: what comes
/// after the gap can be restored. At most 1,000.
pub async fn whole_again(ex: impl PgExecutor<'_>) -> Result<Vec<TimelineId>, DbError> {
    sqlx::query_scalar!(
        r#"
        select alerts.subject_id as "timeline: TimelineId"
        from alerts
        where
            alerts.name = 'archive-gap'
            and alerts.cleared_at is null
            and exists (
                select
                from backups
                where
                    backups.timeline_id = alerts.subject_id
                    and backups.state = 'finished'
                    and not exists (
                        select
                        from gaps
                        where
                            gaps.timeline_id = backups.timeline_id
                            and (gaps.epoch_number, gaps.to_lsn)
                                > (backups.epoch_number, backups.start_lsn)
                    )
            )
        order by alerts.subject_id
        limit 1000
        "#,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list who can be restored again"))
}

/// Clears the alerts about timelines that have ended: nobody pushes them, and none has a leader that
/// stays. At most 1,000; tells how many. Whoever raises one looked before the end, and comes after it.
pub async fn settle_ended(ex: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        with ended as (
            select alerts.id
            from alerts
            where
                alerts.subject_kind = 'timeline'
                and alerts.cleared_at is null
                and not exists (
                    select
                    from jobs
                    where jobs.kind = 'wal_push' and jobs.subject_id = alerts.subject_id
                )
                and not exists (
                    select
                    from participants
                    where
                        participants.timeline_id = alerts.subject_id
                        and participants.role = 'leader'
                        and participants.state <> 'removed'
                        and participants.destroy_requested_at is null
                )
            order by alerts.id
            limit 1000
        )
        update alerts
        set cleared_at = greatest($1, alerts.raised_at)
        from ended
        where alerts.id = ended.id and alerts.cleared_at is null
        "#,
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during(
        "clear the alerts of timelines that have ended",
    ))?;
    Ok(done.rows_affected())
}
