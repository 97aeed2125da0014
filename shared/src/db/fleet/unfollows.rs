//! The end of following, as it is recorded.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::followers::lock_follower;
use super::{FollowerRow, Recorded};
use crate::db::DbError;
use crate::domain::ArchiveAlert;
use crate::ids::{ResourceId, TimelineId};

/// Makes a leader of a follower, on `timeline`, which begins now and comes from the one it followed.
///
/// Overtaken if it leads already, or is being replaced. The caller owns the transaction, and rolls it
/// back then.
pub async fn take_lead(
    conn: &mut PgConnection,
    row: &FollowerRow,
    timeline: TimelineId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    if lock_follower(conn, row).await? != Some((None, None)) {
        return Ok(Recorded::Overtaken);
    }
    sqlx::query!(
        "insert into timelines (id, parent_id, created_at) values ($1, $2, $3)",
        timeline.as_uuid(),
        row.timeline.as_uuid(),
        now,
    )
    .execute(&mut *conn)
    .await
    .map_err(DbError::during("begin a timeline"))?;
    let done = sqlx::query!(
        r#"
        update participants
        set timeline_id = $2, role = 'leader', request_id = $3, version = version + 1
        where id = $1 and state in ('serving', 'down')
        "#,
        row.participant.as_uuid(),
        timeline.as_uuid(),
        row.request_id.as_uuid(),
    )
    .execute(conn)
    .await
    .map_err(DbError::during("make a leader of a follower"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Notes that a former follower is a database of its own: its operation succeeds, its job is done, and
/// nobody waits for it any more.
pub async fn note_unfollowed(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with independent as (
            update forks
            set unfollowed_at = $2, behind_lsn = null, behind_since = null
            where
                resource_id = $1
                and unfollow_requested_at is not null
                and unfollowed_at is null
            returning resource_id
        ),
        answered as (
            update operations
            set state = 'succeeded', finished_at = $2
            from independent
            where
                operations.resource_id = independent.resource_id
                and operations.kind = 'unfollow'
                and operations.state = 'pending'
        ),
        cleared as (
            update alerts
            set cleared_at = greatest($2, raised_at)
            from independent
            where
                alerts.name = $3
                and alerts.subject_id = independent.resource_id
                and alerts.cleared_at is null
        ),
        ended_job as (
            delete from jobs
            using independent
            where jobs.kind = 'catch_up' and jobs.subject_id = independent.resource_id
        )
        select count(*) as "count!" from independent
        "#,
        id.as_uuid(),
        now,
        ArchiveAlert::UnfollowLate.as_str(),
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("note that following has ended"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}
