//! Rows of followers: what they have from their original, and the end of following.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::Recorded;
use crate::db::DbError;
use crate::domain::{ParticipantRole, ParticipantState, ResourceState};
use crate::ids::{ParticipantId, RequestId, ResourceId, ServerId, TimelineId};

/// Secrets that a follower shares with what it follows, each encrypted for the row it is from.
#[derive(Debug, Clone)]
pub struct OriginalSecrets {
    /// The original.
    pub resource: ResourceId,
    /// Password of the owner.
    pub password: Vec<u8>,
    /// Its verifier.
    pub verifier: Vec<u8>,
    /// The leader.
    pub participant: ParticipantId,
    /// Its server.
    pub server: ServerId,
    /// Password of our own role.
    pub prober_password: Vec<u8>,
    /// Its verifier.
    pub prober_verifier: Vec<u8>,
}

/// The secrets of what resource `id` follows; null if it follows nobody, or its leader is away.
pub async fn secrets_of_original(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<OriginalSecrets>, DbError> {
    sqlx::query_as!(
        OriginalSecrets,
        r#"
        select
            parents.id as "resource: ResourceId",
            parents.password as "password!",
            parents.verifier as "verifier!",
            leaders.id as "participant: ParticipantId",
            leaders.server_id as "server: ServerId",
            leaders.prober_password,
            leaders.prober_verifier
        from forks
        join resources as parents on parents.id = forks.parent_resource_id
        join participants as leaders
            on leaders.timeline_id = forks.parent_timeline_id
            and leaders.role = 'leader'
            and leaders.state <> 'removed'
        where forks.resource_id = $1 and forks.follows and parents.password is not null
        "#,
        id.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("read the secrets of what is followed"))
}

/// A follower, and how far it is on the way that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerRow {
    /// The resource.
    pub resource: ResourceId,
    /// Where it is in its life.
    pub state: ResourceState,
    /// Moment it was asked to go on by itself; null while it shall follow.
    pub unfollow_requested_at: Option<DateTime<Utc>>,
    /// Its participant.
    pub participant: ParticipantId,
    /// Where the participant is in its life.
    pub participant_state: ParticipantState,
    /// What the participant does on its timeline.
    pub role: ParticipantRole,
    /// The timeline that it is on.
    pub timeline: TimelineId,
    /// The server it runs on.
    pub server: ServerId,
    /// Whether its timeline is in the archive.
    pub is_archived: bool,
    /// Request that it is about.
    pub request_id: RequestId,
}

/// The follower that job `catch_up` of resource `id` is about; null if there is none (any more).
pub async fn load_follower(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<FollowerRow>, DbError> {
    sqlx::query_as!(
        FollowerRow,
        r#"
        select
            resources.id as "resource: ResourceId",
            resources.state as "state: ResourceState",
            forks.unfollow_requested_at,
            participants.id as "participant: ParticipantId",
            participants.state as "participant_state: ParticipantState",
            participants.role as "role: ParticipantRole",
            participants.timeline_id as "timeline: TimelineId",
            participants.server_id as "server: ServerId",
            exists (
                select from epochs where epochs.timeline_id = participants.timeline_id
            ) as "is_archived!",
            jobs.request_id as "request_id: RequestId"
        from jobs
        join resources on resources.id = jobs.subject_id
        join forks on forks.resource_id = resources.id
        join participants on participants.id = resources.participant_id
        where
            jobs.kind = 'catch_up'
            and jobs.subject_id = $1
            and forks.follows
            and forks.unfollowed_at is null
            and resources.destroy_requested_at is null
            and resources.state in ('available', 'unavailable', 'recovering')
        "#,
        id.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("load a follower"))
}

/// Makes a leader of a follower, on `timeline`, which begins now and comes from the one it followed.
///
/// The caller owns the transaction, and rolls it back when it was overtaken.
pub async fn take_lead(
    conn: &mut PgConnection,
    row: &FollowerRow,
    timeline: TimelineId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
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
        set timeline_id = $3, role = 'leader', request_id = $4, version = version + 1
        where
            id = $1
            and timeline_id = $2
            and role = 'follower'
            and state in ('serving', 'down')
            and destroy_requested_at is null
        "#,
        row.participant.as_uuid(),
        row.timeline.as_uuid(),
        timeline.as_uuid(),
        row.request_id.as_uuid(),
    )
    .execute(conn)
    .await
    .map_err(DbError::during("make a leader of a follower"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Notes that a former follower is a database of its own: its operation succeeds and its job is
/// done.
pub async fn note_unfollowed(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with independent as (
            update forks
            set unfollowed_at = $2
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
        ended_job as (
            delete from jobs
            using independent
            where jobs.kind = 'catch_up' and jobs.subject_id = independent.resource_id
        )
        select count(*) as "count!" from independent
        "#,
        id.as_uuid(),
        now,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("note that following has ended"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}
