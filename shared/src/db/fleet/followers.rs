//! Rows of followers: what they have from their original, and what is to be done about them.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::db::DbError;
use crate::domain::{ParticipantRole, ParticipantState};
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
    /// Name of its plan.
    pub plan: String,
    /// Moment it was asked to go on by itself; null while it shall follow.
    pub unfollow_requested_at: Option<DateTime<Utc>>,
    /// Its participant.
    pub participant: ParticipantId,
    /// Where the participant is in its life.
    pub participant_state: ParticipantState,
    /// Moment it entered that state.
    pub participant_since: DateTime<Utc>,
    /// Highest generation that its agent said to hold in full; 0 before the first.
    pub acknowledged_generation: u64,
    /// What the participant does on its timeline.
    pub role: ParticipantRole,
    /// The timeline that it is on.
    pub timeline: TimelineId,
    /// The server it runs on.
    pub server: ServerId,
    /// Where the agent of that server is reached; null before that is known.
    pub agent: Option<Address>,
    /// Whether everything of its timeline can be restored: also what comes from another one.
    pub is_protected: bool,
    /// Before this position its timeline is not in the archive any more; null while all of it is.
    pub kept_from: Option<Lsn>,
    /// The participant that shall take its place; null while none is needed.
    pub replacement: Option<Replacement>,
    /// The participant whose place it took, which is not let go of yet.
    pub replaced: Option<ParticipantId>,
    /// Whether customers get to its participant, or the one whose place it took does not answer
    /// them either.
    pub took_over: bool,
    /// Major version of PostgreSQL.
    pub postgres_major: u16,
    /// Moment the job was asked for.
    pub asked_at: DateTime<Utc>,
    /// Request that it is about.
    pub request_id: RequestId,
}

/// A participant that shall take the place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The participant.
    pub participant: ParticipantId,
    /// Where it is in its life.
    pub state: ParticipantState,
    /// Its server.
    pub server: ServerId,
    /// Why it will not be restored; null while it may be.
    pub problem: Option<String>,
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
            resources.plan,
            forks.unfollow_requested_at,
            participants.id as "participant: ParticipantId",
            participants.state as "participant_state: ParticipantState",
            participants.state_since as participant_since,
            participants.acknowledged_generation,
            participants.role as "role: ParticipantRole",
            participants.timeline_id as "timeline: TimelineId",
            participants.server_id as "server: ServerId",
            servers.host, servers.agent_port,
            is_restorable_alone(participants.timeline_id) as "is_protected!",
            epochs.kept_from_lsn as "kept_from_lsn?",
            replacements.id as "replacement?: ParticipantId",
            replacements.state as "replacement_state?: ParticipantState",
            replacements.server_id as "replacement_server?: ServerId",
            restores.problem as "replacement_problem?",
            forks.replaced_id as "replaced?: ParticipantId",
            (
                resources.endpoint_acknowledged_generation = resources.endpoint_generation
                and resources.endpoint_upstream = servers.host || ':' || servers.postgres_port
            ) or coalesce(replaced.state <> 'serving', false) as "took_over!",
            participants.postgres_major,
            jobs.created_at as asked_at,
            jobs.request_id as "request_id: RequestId"
        from jobs
        join resources on resources.id = jobs.subject_id
        join forks on forks.resource_id = resources.id
        join participants on participants.id = resources.participant_id
        join servers on servers.id = participants.server_id
        left join participants as replacements on replacements.id = forks.replacement_id
        left join restores on restores.id = replacements.restore_id
        left join participants as replaced on replaced.id = forks.replaced_id
        left join lateral (
            select kept_from_lsn
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
    plan: String,
    unfollow_requested_at: Option<DateTime<Utc>>,
    participant: ParticipantId,
    participant_state: ParticipantState,
    participant_since: DateTime<Utc>,
    acknowledged_generation: i64,
    role: ParticipantRole,
    timeline: TimelineId,
    server: ServerId,
    host: Option<String>,
    agent_port: Option<i32>,
    is_protected: bool,
    kept_from_lsn: Option<i64>,
    replacement: Option<ParticipantId>,
    replacement_state: Option<ParticipantState>,
    replacement_server: Option<ServerId>,
    replacement_problem: Option<String>,
    replaced: Option<ParticipantId>,
    took_over: bool,
    postgres_major: i32,
    asked_at: DateTime<Utc>,
    request_id: RequestId,
}

impl From<Joined> for FollowerRow {
    fn from(row: Joined) -> Self {
        let lsn = |stored: i64| Lsn::from_bytes(stored.unsigned_abs());
        let port = row.agent_port.and_then(|port| u16::try_from(port).ok());
        let problem = row.replacement_problem;
        let replacement = row.replacement.and_then(|participant| {
            Some(Replacement {
                participant,
                state: row.replacement_state?,
                server: row.replacement_server?,
                problem,
            })
        });
        Self {
            resource: row.resource,
            plan: row.plan,
            unfollow_requested_at: row.unfollow_requested_at,
            participant: row.participant,
            participant_state: row.participant_state,
            participant_since: row.participant_since,
            acknowledged_generation: row.acknowledged_generation.unsigned_abs(),
            role: row.role,
            timeline: row.timeline,
            server: row.server,
            agent: row
                .host
                .zip(port)
                .map(|(host, port)| Address { host, port }),
            is_protected: row.is_protected,
            kept_from: row.kept_from_lsn.map(lsn),
            replacement,
            replaced: row.replaced,
            took_over: row.took_over,
            postgres_major: u16::try_from(row.postgres_major).unwrap_or(0),
            asked_at: row.asked_at,
            request_id: row.request_id,
        }
    }
}

/// Locks a follower, so that nobody else makes a leader of it, replaces it or ends it before the
/// transaction does. Gives the participants that shall take its place and whose place it took; null
/// if it is another one by now, or follows no more.
pub(super) async fn lock_follower(
    conn: &mut PgConnection,
    row: &FollowerRow,
) -> Result<Option<(Option<ParticipantId>, Option<ParticipantId>)>, DbError> {
    let failed = DbError::during("lock a follower");
    // Each is a statement of its own, so that the next sees what was committed before. In the order in
    // which requests of customers lock.
    let is_there = sqlx::query_scalar!(
        r#"
        select id from resources
        where id = $1 and participant_id = $2 and destroy_requested_at is null
        for no key update
        "#,
        row.resource.as_uuid(),
        row.participant.as_uuid(),
    )
    .fetch_optional(&mut *conn)
    .await
    .map_err(failed)?;
    let fork = sqlx::query!(
        r#"
        select
            replacement_id as "replacement: ParticipantId",
            replaced_id as "replaced: ParticipantId"
        from forks
        where resource_id = $1 and follows and unfollowed_at is null
        for no key update
        "#,
        row.resource.as_uuid(),
    )
    .fetch_optional(&mut *conn)
    .await
    .map_err(failed)?;
    let follows = sqlx::query_scalar!(
        r#"
        select id from participants
        where
            id = $1
            and timeline_id = $2
            and role = 'follower'
            and destroy_requested_at is null
        for no key update
        "#,
        row.participant.as_uuid(),
        row.timeline.as_uuid(),
    )
    .fetch_optional(conn)
    .await
    .map_err(failed)?;
    let is_locked = is_there.is_some() && follows.is_some();
    Ok(fork
        .filter(|_| is_locked)
        .map(|fork| (fork.replacement, fork.replaced)))
}
