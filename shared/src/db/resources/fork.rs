//! What a resource began as a copy of, for people.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::DbError;
use crate::ids::{ResourceId, TimelineId};
use crate::units::Lsn;

/// The original of a copy, and how the copy is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkOf {
    /// The original.
    pub parent_id: ResourceId,
    /// Its name.
    pub parent_name: String,
    /// Moment as of which it is a copy; null for a position or the end.
    pub target_at: Option<DateTime<Utc>>,
    /// Position as of which it is a copy; null for a moment or the end.
    pub target_lsn: Option<Lsn>,
    /// Moment it was asked for.
    pub asked_at: DateTime<Utc>,
    /// It has everything that was committed to the original before this moment (or up to the target);
    /// null before that is known.
    pub complete_until: Option<DateTime<Utc>>,
    /// Where it left the original; null before that is known.
    pub branch_lsn: Option<Lsn>,
    /// Moment the restore was planned; null before.
    pub planned_at: Option<DateTime<Utc>>,
    /// Bytes of files that are in place.
    pub bytes_done: u64,
    /// Bytes of all files; 0 before that is known.
    pub bytes_total: u64,
    /// WAL is replayed about up to here; null before that began.
    pub replay_lsn: Option<Lsn>,
    /// Bytes of its database that were brought over from a hidden instance.
    pub transferred_bytes: u64,
    /// Size of that database in bytes; 0 before that is known, and for a copy that is itself restored.
    pub transfer_bytes: u64,
    /// Whether it goes on, or went on, with what the original wrote since.
    pub follows: bool,
    /// Moment it was asked to go on by itself; null while it follows.
    pub unfollow_requested_at: Option<DateTime<Utc>>,
    /// Moment from which on it is protected as a database of its own; null before.
    pub unfollowed_at: Option<DateTime<Utc>>,
    /// Moment its leader was seen to have what it has not by now; null while it has everything.
    pub behind_since: Option<DateTime<Utc>>,
}

impl ForkOf {
    /// Whether it replays what the original writes, and cannot be written to.
    pub fn is_following(&self) -> bool {
        self.follows && self.unfollowed_at.is_none()
    }
}

/// What resource `id` began as a copy of; null if it began empty.
pub async fn fork_of(
    executor: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<ForkOf>, DbError> {
    let row = sqlx::query!(
        r#"
        select
            parents.id as "parent_id: ResourceId",
            parents.name as parent_name,
            forks.target_at,
            forks.target_lsn,
            forks.asked_at,
            forks.follows,
            forks.unfollow_requested_at,
            forks.unfollowed_at,
            forks.behind_since,
            forks.end_at as complete_until,
            case when timelines.id <> forks.parent_timeline_id then timelines.branch_lsn end
                as branch_lsn,
            restores.created_at as "planned_at?",
            restores.bytes_done as "bytes_done?",
            restores.bytes_total as "bytes_total?",
            restores.replay_lsn,
            forks.transferred_bytes,
            forks.transfer_bytes
        from forks
        join resources on resources.id = forks.resource_id
        join resources as parents on parents.id = forks.parent_resource_id
        left join restores on restores.id = forks.restore_id
        left join participants on participants.id = resources.participant_id
        left join timelines on timelines.id = participants.timeline_id
        where forks.resource_id = $1
        "#,
        id.as_uuid(),
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read what a resource is a copy of"))?;
    let lsn = |stored: Option<i64>| stored.map(|stored| Lsn::from_bytes(stored.unsigned_abs()));
    Ok(row.map(|row| ForkOf {
        parent_id: row.parent_id,
        parent_name: row.parent_name,
        target_at: row.target_at,
        target_lsn: lsn(row.target_lsn),
        asked_at: row.asked_at,
        complete_until: row.complete_until,
        branch_lsn: lsn(row.branch_lsn),
        planned_at: row.planned_at,
        bytes_done: row.bytes_done.unwrap_or_default().unsigned_abs(),
        bytes_total: row.bytes_total.unwrap_or_default().unsigned_abs(),
        replay_lsn: lsn(row.replay_lsn),
        transferred_bytes: row.transferred_bytes.unsigned_abs(),
        transfer_bytes: row.transfer_bytes.unsigned_abs(),
        follows: row.follows,
        unfollow_requested_at: row.unfollow_requested_at,
        unfollowed_at: row.unfollowed_at,
        behind_since: row.behind_since,
    }))
}

/// The resources that follow resource `id` and shall go on to, oldest first.
pub async fn followers_of(
    executor: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Vec<String>, DbError> {
    sqlx::query_scalar!(
        r#"
        select resources.name
        from forks
        join resources on resources.id = forks.resource_id
        where
            forks.parent_resource_id = $1
            and forks.follows
            and forks.unfollowed_at is null
            and resources.destroy_requested_at is null
            and resources.state <> 'deprovisioned'
        order by resources.id
        limit 1000
        "#,
        id.as_uuid(),
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the followers of a resource"))
}

/// The timeline that resource `id` is on; null while it is on none.
pub async fn timeline_of(
    executor: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<TimelineId>, DbError> {
    sqlx::query_scalar!(
        r#"
        select participants.timeline_id as "timeline: TimelineId"
        from resources
        join participants on participants.id = resources.participant_id
        where resources.id = $1
        "#,
        id.as_uuid(),
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("find the timeline of a resource"))
}
