//! How far followers are behind.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Uuid;

use crate::db::DbError;
use crate::domain::{ArchiveAlert, ParticipantState};
use crate::ids::{ResourceId, TimelineId};

/// A follower, as it was last looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowerLagRow {
    /// The resource.
    pub resource: ResourceId,
    /// The timeline that it follows.
    pub timeline: TimelineId,
    /// Where its participant is in its life.
    pub participant_state: ParticipantState,
    /// Bytes of WAL that its leader was seen to have and it was not; null while one was not seen.
    pub bytes: Option<i64>,
    /// Moment its leader was seen to have what it has not by now; null while it has everything.
    pub behind_since: Option<DateTime<Utc>>,
    /// Since when it stands where it does although its leader has more; null while it has everything.
    pub stands_since: Option<DateTime<Utc>>,
    /// Whether what it needs next is in the archive no more.
    pub is_beyond_archive: bool,
    /// Whether it was seen to have what its leader was seen not to have after that.
    pub is_ahead: bool,
}

/// Notes since when followers have not replayed what their leader was seen to have, that they have by
/// now, and since when they stand where they do. Tells how many notes changed. Idempotent.
pub async fn note_lags(ex: impl PgExecutor<'_>) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        with seen as (
            select
                forks.resource_id,
                forks.behind_lsn,
                replayed.observed_at as replayed_at,
                ((replayed.body ->> 'wal_lsn')::pg_lsn - '0/0'::pg_lsn)::bigint as replayed_lsn,
                ((written.body ->> 'wal_lsn')::pg_lsn - '0/0'::pg_lsn)::bigint as written_lsn,
                written.observed_at as written_at
            from forks
            join observations as written on written.resource_id = forks.parent_resource_id
            join observations as replayed on replayed.resource_id = forks.resource_id
            where forks.follows and forks.unfollowed_at is null
        ),
        noted as (
            select
                resource_id,
                case
                    when behind_lsn > coalesce(replayed_lsn, 0) then behind_lsn
                    when written_lsn > replayed_lsn then written_lsn
                end as behind_lsn,
                written_at,
                replayed_lsn,
                case when replayed_lsn is not null then replayed_at end as replayed_at
            from seen
        )
        update forks
        set
            behind_lsn = noted.behind_lsn,
            behind_since = case
                when noted.behind_lsn is null then null
                when forks.behind_lsn = noted.behind_lsn then forks.behind_since
                else noted.written_at
            end,
            replayed_lsn = noted.replayed_lsn,
            replayed_since = case
                when forks.replayed_lsn = noted.replayed_lsn then forks.replayed_since
                else noted.replayed_at
            end
        from noted
        where
            forks.resource_id = noted.resource_id
            and (forks.behind_lsn, forks.replayed_lsn)
                is distinct from (noted.behind_lsn, noted.replayed_lsn)
        "#,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note how far followers are behind"))?;
    Ok(done.rows_affected())
}

/// Every follower that is there, at most 10,000.
pub async fn follower_lags(ex: impl PgExecutor<'_>) -> Result<Vec<FollowerLagRow>, DbError> {
    sqlx::query_as!(
        FollowerLagRow,
        r#"
        select
            resources.id as "resource: ResourceId",
            participants.timeline_id as "timeline: TimelineId",
            participants.state as "participant_state: ParticipantState",
            greatest(
                (written.body ->> 'wal_lsn')::pg_lsn - (replayed.body ->> 'wal_lsn')::pg_lsn, 0
            )::bigint as bytes,
            forks.behind_since,
            case
                when forks.behind_since is not null
                then greatest(forks.replayed_since, forks.behind_since)
            end as stands_since,
            coalesce(
                epochs.kept_from_lsn > ((replayed.body ->> 'wal_lsn')::pg_lsn - '0/0'::pg_lsn),
                false
            ) as "is_beyond_archive!",
            coalesce(
                (written.body ->> 'wal_lsn')::pg_lsn < (replayed.body ->> 'wal_lsn')::pg_lsn
                and written.observed_at > replayed.observed_at,
                false
            ) as "is_ahead!"
        from participants
        join resources on resources.participant_id = participants.id
        join forks on forks.resource_id = resources.id
        left join observations as replayed on replayed.resource_id = resources.id
        left join observations as written on written.resource_id = forks.parent_resource_id
        left join lateral (
            select kept_from_lsn
            from epochs
            where epochs.timeline_id = participants.timeline_id
            order by number desc
            limit 1
        ) as epochs on true
        where
            participants.role = 'follower'
            and participants.state in ('serving', 'down')
            and participants.destroy_requested_at is null
        order by resources.id
        limit 10000
        "#,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list how far followers are behind"))
}

/// Clears the alerts about followers that are behind, but for those of `still`. Idempotent.
pub async fn clear_follower_alerts(
    ex: impl PgExecutor<'_>,
    still: &[ResourceId],
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let still: Vec<Uuid> = still.iter().map(|id| id.as_uuid()).collect();
    let done = sqlx::query!(
        r#"
        update alerts
        set cleared_at = greatest($3, raised_at)
        where name = $1 and cleared_at is null and subject_id <> all($2)
        "#,
        ArchiveAlert::FollowerBehind.as_str(),
        &still,
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("clear the alerts of followers"))?;
    Ok(done.rows_affected())
}
