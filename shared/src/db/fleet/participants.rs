//! Rows of PostgreSQL instances.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::{Json, Uuid};

use super::{Move, Recorded};
use crate::agent_api::restore::RestoreSource;
use crate::db::DbError;
use crate::domain::{ParticipantRole, ParticipantState};
use crate::ids::{ParticipantId, RequestId, ResourceId, ServerId};
use crate::ports::Address;

/// A PostgreSQL instance, as the control database knows it.
#[derive(Debug, Clone)]
pub struct ParticipantRow {
    /// Id of the participant.
    pub id: ParticipantId,
    /// Server it runs on.
    pub server_id: ServerId,
    /// What it does on its timeline.
    pub role: ParticipantRole,
    /// Of a follower: the server of its leader, with the address of PostgreSQL there. Null while
    /// there is none, or it has no address.
    pub upstream: Option<(ServerId, Address)>,
    /// Of a leader: the servers of its followers, in order.
    pub streamers: Vec<ServerId>,
    /// Where it is in its life.
    pub state: ParticipantState,
    /// Moment it entered this state.
    pub state_since: DateTime<Utc>,
    /// Moment after which this state raises an alert.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Moment somebody decided that it shall go.
    pub destroy_requested_at: Option<DateTime<Utc>>,
    /// Major version of PostgreSQL.
    pub postgres_major: u16,
    /// What its data is restored from; null if it began empty.
    pub restore: Option<ParticipantRestore>,
    /// Number of the newest instruction; 0 before the first.
    pub generation: u64,
    /// Digest of the newest instruction.
    pub spec_digest: Option<String>,
    /// Counts asked-for restarts.
    pub incarnation: u64,
    /// Highest generation whose spec the agent said to hold in full.
    pub acknowledged_generation: u64,
    /// Password of our own role, encrypted.
    pub prober_password: Vec<u8>,
    /// Its verifier, encrypted.
    pub prober_verifier: Vec<u8>,
    /// How often PostgreSQL ended without being told to, as last recorded.
    pub crashes: u64,
    /// Name of the open alert about it.
    pub open_alert: Option<String>,
    /// Request that made it.
    pub request_id: RequestId,
    /// Version of the row.
    pub version: i64,
}

/// What the data of a participant is restored from.
#[derive(Debug, Clone)]
pub struct ParticipantRestore {
    /// Backup, way and target.
    pub source: RestoreSource,
    /// Size of a WAL segment of the cluster, in bytes.
    pub segment_bytes: u32,
}

/// The newest participant on each of `servers`; a server that never had one is left out.
pub async fn participants_on(
    ex: impl PgExecutor<'_>,
    servers: &[ServerId],
) -> Result<Vec<ParticipantRow>, DbError> {
    let servers: Vec<_> = servers.iter().map(|id| id.as_uuid()).collect();
    let rows = sqlx::query_as!(
        Joined,
        r#"
        select distinct on (participants.server_id)
            participants.id as "id: ParticipantId",
            participants.server_id as "server_id: ServerId",
            participants.role as "role: ParticipantRole",
            upstream.id as "upstream?: ServerId",
            upstream.host as "upstream_host?",
            upstream.postgres_port as "upstream_port?",
            case
                when participants.role = 'leader' then array(
                    select followers.server_id
                    from participants as followers
                    where
                        followers.timeline_id = participants.timeline_id
                        and followers.role = 'follower'
                        and followers.state not in ('removing', 'removed')
                    order by followers.server_id
                )
            end as streamers,
            participants.state as "state: ParticipantState",
            participants.state_since,
            participants.deadline_at,
            participants.destroy_requested_at,
            participants.postgres_major,
            restores.source as "source?: Json<RestoreSource>",
            restores.segment_bytes as "segment_bytes?",
            participants.generation,
            participants.spec_digest,
            participants.incarnation,
            participants.acknowledged_generation,
            participants.prober_password,
            participants.prober_verifier,
            participants.crashes,
            (
                select alerts.name from alerts
                where alerts.subject_id = participants.id and alerts.cleared_at is null
                limit 1
            ) as open_alert,
            participants.request_id as "request_id: RequestId",
            participants.version
        from participants
        left join restores on restores.id = participants.restore_id
        left join lateral (
            select servers.id, servers.host, servers.postgres_port
            from participants as leaders
            join servers on servers.id = leaders.server_id
            where
                participants.role = 'follower'
                and leaders.timeline_id = participants.timeline_id
                and leaders.role = 'leader'
                and leaders.state <> 'removed'
        ) as upstream on true
        where participants.server_id = any($1)
        order by
            participants.server_id, (participants.state <> 'removed') desc, participants.id desc
        "#,
        &servers,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("load the participants of servers"))?;
    Ok(rows.into_iter().map(ParticipantRow::from).collect())
}

struct Joined {
    id: ParticipantId,
    server_id: ServerId,
    role: ParticipantRole,
    upstream: Option<ServerId>,
    upstream_host: Option<String>,
    upstream_port: Option<i32>,
    streamers: Option<Vec<Uuid>>,
    state: ParticipantState,
    state_since: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    destroy_requested_at: Option<DateTime<Utc>>,
    postgres_major: i32,
    source: Option<Json<RestoreSource>>,
    segment_bytes: Option<i32>,
    generation: i64,
    spec_digest: Option<String>,
    incarnation: i64,
    acknowledged_generation: i64,
    prober_password: Vec<u8>,
    prober_verifier: Vec<u8>,
    crashes: i64,
    open_alert: Option<String>,
    request_id: RequestId,
    version: i64,
}

impl From<Joined> for ParticipantRow {
    fn from(row: Joined) -> Self {
        let streamers = row.streamers.unwrap_or_default().into_iter();
        Self {
            id: row.id,
            server_id: row.server_id,
            role: row.role,
            upstream: row.upstream.and_then(|server| {
                let port = u16::try_from(row.upstream_port?).ok()?;
                let host = row.upstream_host?;
                Some((server, Address { host, port }))
            }),
            streamers: streamers.map(ServerId::from_uuid).collect(),
            state: row.state,
            state_since: row.state_since,
            deadline_at: row.deadline_at,
            destroy_requested_at: row.destroy_requested_at,
            postgres_major: u16::try_from(row.postgres_major).unwrap_or(0),
            restore: row
                .source
                .zip(row.segment_bytes)
                .map(|(Json(source), bytes)| ParticipantRestore {
                    source,
                    segment_bytes: bytes.unsigned_abs(),
                }),
            generation: row.generation.unsigned_abs(),
            spec_digest: row.spec_digest,
            incarnation: row.incarnation.unsigned_abs(),
            acknowledged_generation: row.acknowledged_generation.unsigned_abs(),
            prober_password: row.prober_password,
            prober_verifier: row.prober_verifier,
            crashes: row.crashes.unsigned_abs(),
            open_alert: row.open_alert,
            request_id: row.request_id,
            version: row.version,
        }
    }
}

/// Records a step of the participant machine, and the agent's count of crashes with it.
pub async fn move_participant(
    ex: impl PgExecutor<'_>,
    id: ParticipantId,
    step: &Move<ParticipantState>,
    crashes: Option<u64>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with moved as (
            update participants
            set
                state = $4,
                state_since = case when state = $4 then state_since else $9 end,
                deadline_at = case when state = $4 then deadline_at else $10 end,
                problem = $11,
                crashes = coalesce($12, crashes),
                version = version + 1
            where id = $1 and version = $2 and state = $3
            returning id
        )
        insert into transitions (
            machine, subject_id, resource_id, from_state, event, to_state, why, detail,
            request_id, at
        )
        select
            'participant',
            moved.id,
            (
                select resources.id
                from resources
                join plans on plans.name = resources.plan and plans.dedicated
                where resources.participant_id = moved.id
                limit 1
            ),
            $3, $5, $4, $6, $7, $8, $9
        from moved
        "#,
        id.as_uuid(),
        step.version,
        step.from.as_str(),
        step.to.as_str(),
        step.event,
        step.why,
        step.detail,
        step.request_id.as_uuid(),
        step.at,
        step.deadline_at,
        step.problem,
        crashes.and_then(|crashes| i64::try_from(crashes).ok()),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("record a step of a participant"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// A spec that is about to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Instruction<'a> {
    /// Its number: one more than the newest.
    pub generation: u64,
    /// Its digest.
    pub digest: &'a str,
    /// Resources whose database it says to exist.
    pub wanted: &'a [ResourceId],
    /// Resources whose database it says not to exist.
    pub absent: &'a [ResourceId],
}

/// Allocates the generation of `instruction`, before it is sent.
///
/// The participant's generation must still be the one below. Every attached resource that the spec
/// is the first to cover – as wanted or as absent, and still meant so – learns the generation.
pub async fn record_instruction(
    ex: impl PgExecutor<'_>,
    (id, version): (ParticipantId, i64),
    instruction: &Instruction<'_>,
) -> Result<Recorded, DbError> {
    let generation = i64::try_from(instruction.generation).unwrap_or(i64::MAX);
    let uuids = |ids: &[ResourceId]| ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>();
    let done = sqlx::query!(
        r#"
        with instructed as (
            update participants
            set
                generation = $3::bigint,
                spec_digest = $4,
                told_restore_id = restore_id,
                told_role_generation = $3::bigint,
                version = version + 1
            where id = $1 and version = $2 and generation = $3::bigint - 1
            returning id
        ),
        covered as (
            update resources
            set instructed_generation = $3::bigint
            from instructed
            where
                resources.participant_id = instructed.id
                and resources.instructed_generation is null
                and (
                    (resources.id = any($5) and resources.state <> 'deprovisioning')
                    or (resources.id = any($6) and resources.state = 'deprovisioning')
                )
            returning 1
        )
        select count(*) as "count!" from instructed
        "#,
        id.as_uuid(),
        version,
        generation,
        instruction.digest,
        &uuids(instruction.wanted),
        &uuids(instruction.absent),
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("allocate a generation"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}

/// Records that the agent holds the spec of `generation` in full.
pub async fn acknowledge(
    ex: impl PgExecutor<'_>,
    (id, version): (ParticipantId, i64),
    generation: u64,
    system_identifier: Option<&str>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update participants
        set
            acknowledged_generation = $3,
            system_identifier = coalesce($4, system_identifier),
            version = version + 1
        where id = $1 and version = $2 and generation >= $3
        "#,
        id.as_uuid(),
        version,
        i64::try_from(generation).unwrap_or(i64::MAX),
        system_identifier,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("record an acknowledgement"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Asks for one restart of PostgreSQL, unless one asked for since `incarnation` is still to come.
pub async fn request_restart(
    ex: impl PgExecutor<'_>,
    id: ParticipantId,
    incarnation: u64,
    at: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update participants
        set incarnation = incarnation + 1, restart_asked_at = $3, version = version + 1
        where id = $1 and incarnation = $2
        "#,
        id.as_uuid(),
        i64::try_from(incarnation).unwrap_or(i64::MAX),
        at,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("ask for a restart"))?;
    Ok(Recorded::of(done.rows_affected()))
}
