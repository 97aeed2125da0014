//! Rows of followers: what they have from their original, and the end of following.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::Recorded;
use crate::db::DbError;
use crate::domain::{ParticipantRole, ParticipantState, ResourceState};
use crate::ids::{ParticipantId, RequestId, ResourceId, ServerId, TimelineId};
use crate::ports::Address;
use crate::units::Lsn;

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
    /// Where the agent of that server is reached; null before that is known.
    pub agent: Option<Address>,
    /// Up to where it was last seen to have replayed; null before it was seen.
    pub replayed: Option<Lsn>,
    /// Whether its timeline is in the archive.
    pub is_archived: bool,
    /// Before this position its timeline is not in the archive any more; null while all of it is.
    pub kept_from: Option<Lsn>,
    /// The participant that shall take its place, and where that is in its life; null while none is
    /// needed.
    pub replacement: Option<(ParticipantId, ParticipantState)>,
    /// Major version of PostgreSQL.
    pub postgres_major: u16,
    /// Moment the job was asked for.
    pub asked_at: DateTime<Utc>,
    /// Request that it is about.
    pub request_id: RequestId,
}

/// The follower that job `catch_up` of resource `id` is about; null if there is none (any more).
pub async fn load_follower(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<FollowerRow>, DbError> {
    let row = sqlx::query_as!(
        Joined,
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
            servers.host,
            servers.agent_port,
            (
                select ((observations.body ->> 'wal_lsn')::pg_lsn - '0/0'::pg_lsn)::bigint
                from observations
                where observations.resource_id = resources.id
            ) as replayed_lsn,
            epochs.number is not null as "is_archived!",
            epochs.kept_from_lsn as "kept_from_lsn?",
            replacements.id as "replacement?: ParticipantId",
            replacements.state as "replacement_state?: ParticipantState",
            participants.postgres_major,
            jobs.created_at as asked_at,
            jobs.request_id as "request_id: RequestId"
        from jobs
        join resources on resources.id = jobs.subject_id
        join forks on forks.resource_id = resources.id
        join participants on participants.id = resources.participant_id
        join servers on servers.id = participants.server_id
        left join participants as replacements on replacements.id = forks.replacement_id
        left join lateral (
            select number, kept_from_lsn
            from epochs
            where epochs.timeline_id = participants.timeline_id
            order by number desc
            limit 1
        ) as epochs on true
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
    .map_err(DbError::during("load a follower"))?;
    Ok(row.map(FollowerRow::from))
}

struct Joined {
    resource: ResourceId,
    state: ResourceState,
    unfollow_requested_at: Option<DateTime<Utc>>,
    participant: ParticipantId,
    participant_state: ParticipantState,
    role: ParticipantRole,
    timeline: TimelineId,
    server: ServerId,
    host: Option<String>,
    agent_port: Option<i32>,
    replayed_lsn: Option<i64>,
    is_archived: bool,
    kept_from_lsn: Option<i64>,
    replacement: Option<ParticipantId>,
    replacement_state: Option<ParticipantState>,
    postgres_major: i32,
    asked_at: DateTime<Utc>,
    request_id: RequestId,
}

impl From<Joined> for FollowerRow {
    fn from(row: Joined) -> Self {
        let lsn = |stored: i64| Lsn::from_bytes(stored.unsigned_abs());
        let port = row.agent_port.and_then(|port| u16::try_from(port).ok());
        Self {
            resource: row.resource,
            state: row.state,
            unfollow_requested_at: row.unfollow_requested_at,
            participant: row.participant,
            participant_state: row.participant_state,
            role: row.role,
            timeline: row.timeline,
            server: row.server,
            agent: row
                .host
                .zip(port)
                .map(|(host, port)| Address { host, port }),
            replayed: row.replayed_lsn.map(lsn),
            is_archived: row.is_archived,
            kept_from: row.kept_from_lsn.map(lsn),
            replacement: row.replacement.zip(row.replacement_state),
            postgres_major: u16::try_from(row.postgres_major).unwrap_or(0),
            asked_at: row.asked_at,
            request_id: row.request_id,
        }
    }
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
