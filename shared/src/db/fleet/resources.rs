//! Rows of resources, with what they stand on.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::{Move, Recorded};
use crate::db::DbError;
use crate::db::jobs::{self, JobKey};
use crate::domain::{
    JobKind, OperationKind, OperationState, ParticipantState, ResourceState, ServerState,
};
use crate::ids::{ParticipantId, RequestId, ResourceId, ServerId};
use crate::ports::{Address, Route};

/// A resource with its plan, participant and server.
#[derive(Debug, Clone)]
pub struct ResourceRow {
    /// Id of the resource.
    pub id: ResourceId,
    /// Name of its plan.
    pub plan: String,
    /// Whether it has a server of its own.
    pub dedicated: bool,
    /// Milliseconds between two turns while it is available.
    pub cadence_ms: u64,
    /// Most connections of its owner.
    pub connection_limit: u32,
    /// Where it is in its life.
    pub state: ResourceState,
    /// Moment it entered this state.
    pub state_since: DateTime<Utc>,
    /// Moment after which this state raises an alert.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Moment the customer asked to destroy it.
    pub destroy_requested_at: Option<DateTime<Utc>>,
    /// Its database.
    pub database_name: String,
    /// Owner of the database.
    pub role_name: String,
    /// Whether the password of the owner was made.
    pub has_secret: bool,
    /// Generation whose spec first said what it needs now.
    pub instructed_generation: Option<u64>,
    /// Address in its URL.
    pub endpoint: Option<Address>,
    /// Number of the newest word to the endpoint.
    pub endpoint_generation: u64,
    /// Number of the newest word that the endpoint acknowledged.
    pub endpoint_acknowledged_generation: u64,
    /// Address the endpoint points at, as host:port.
    pub endpoint_upstream: Option<String>,
    /// Request that last changed its intent.
    pub request_id: RequestId,
    /// Version of the row.
    pub version: i64,
    /// Name of the open alert about it.
    pub open_alert: Option<String>,
    /// Moment PostgreSQL started, as the stored newest observation says.
    pub postgres_started_at: Option<DateTime<Utc>>,
    /// What it is attached to.
    pub base: Option<Base>,
}

/// The participant a resource is attached to, with its server.
#[derive(Debug, Clone)]
pub struct Base {
    /// The participant.
    pub participant: ParticipantId,
    /// Where the participant is in its life.
    pub participant_state: ParticipantState,
    /// Whether the participant was asked to go.
    pub participant_destroy_requested: bool,
    /// Highest generation the agent said to hold in full.
    pub acknowledged_generation: u64,
    /// Counts asked-for restarts.
    pub incarnation: u64,
    /// Moment the last restart in place was asked for.
    pub restart_asked_at: Option<DateTime<Utc>>,
    /// Password of our role there, encrypted.
    pub prober_password: Vec<u8>,
    /// The server.
    pub server: ServerId,
    /// Where the server is in its life.
    pub server_state: ServerState,
    /// Address of PostgreSQL.
    pub postgres: Option<Address>,
    /// Address of the agent.
    pub agent: Option<Address>,
    /// Moment the agent last answered, as last recorded.
    pub agent_seen_at: Option<DateTime<Utc>>,
}

/// The resources `ids` that exist, in no particular order.
pub async fn load_resources(
    ex: impl PgExecutor<'_>,
    ids: &[ResourceId],
) -> Result<Vec<ResourceRow>, DbError> {
    let ids: Vec<_> = ids.iter().map(|id| id.as_uuid()).collect();
    let rows = sqlx::query_as!(
        Joined,
        r#"
        select
            resources.id as "id!: ResourceId",
            resources.plan as "plan!",
            plans.dedicated as "dedicated!",
            plans.cadence_ms as "cadence_ms!",
            plans.connection_limit as "connection_limit!",
            resources.state as "state!: ResourceState",
            resources.state_since as "state_since!",
            resources.deadline_at,
            resources.destroy_requested_at,
            resources.database_name as "database_name!",
            resources.role_name as "role_name!",
            resources.password is not null as "has_secret!",
            resources.instructed_generation,
            resources.endpoint_host,
            resources.endpoint_port,
            resources.endpoint_generation as "endpoint_generation!",
            resources.endpoint_acknowledged_generation as "endpoint_acknowledged_generation!",
            resources.endpoint_upstream,
            resources.request_id as "request_id!: RequestId",
            resources.version as "version!",
            (
                select alerts.name from alerts
                where alerts.subject_id = resources.id and alerts.cleared_at is null
                limit 1
            ) as open_alert,
            (observations.body ->> 'postgres_started_at')::timestamptz as postgres_started_at,
            participants.id as "participant?: ParticipantId",
            participants.state as "participant_state?: ParticipantState",
            participants.destroy_requested_at is not null as "participant_destroy_requested!",
            participants.restart_asked_at as "restart_asked_at?",
            participants.acknowledged_generation as "acknowledged_generation?",
            participants.incarnation as "incarnation?",
            participants.prober_password as "prober_password?",
            servers.id as "server?: ServerId",
            servers.state as "server_state?: ServerState",
            servers.host,
            servers.postgres_port,
            servers.agent_port,
            servers.last_seen_at
        from resources
        join plans on plans.name = resources.plan
        left join observations on observations.resource_id = resources.id
        left join participants on participants.id = resources.participant_id
        left join servers on servers.id = participants.server_id
        where resources.id = any($1)
        "#,
        &ids,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("load resources"))?;
    Ok(rows.into_iter().map(ResourceRow::from).collect())
}

struct Joined {
    id: ResourceId,
    plan: String,
    dedicated: bool,
    cadence_ms: i32,
    connection_limit: i32,
    state: ResourceState,
    state_since: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    destroy_requested_at: Option<DateTime<Utc>>,
    database_name: String,
    role_name: String,
    has_secret: bool,
    instructed_generation: Option<i64>,
    endpoint_host: Option<String>,
    endpoint_port: Option<i32>,
    endpoint_generation: i64,
    endpoint_acknowledged_generation: i64,
    endpoint_upstream: Option<String>,
    request_id: RequestId,
    version: i64,
    open_alert: Option<String>,
    postgres_started_at: Option<DateTime<Utc>>,
    participant: Option<ParticipantId>,
    participant_destroy_requested: bool,
    restart_asked_at: Option<DateTime<Utc>>,
    participant_state: Option<ParticipantState>,
    acknowledged_generation: Option<i64>,
    incarnation: Option<i64>,
    prober_password: Option<Vec<u8>>,
    server: Option<ServerId>,
    server_state: Option<ServerState>,
    host: Option<String>,
    postgres_port: Option<i32>,
    agent_port: Option<i32>,
    last_seen_at: Option<DateTime<Utc>>,
}

fn address(host: Option<String>, port: Option<i32>) -> Option<Address> {
    Some(Address {
        host: host?,
        port: u16::try_from(port?).ok()?,
    })
}

impl From<Joined> for ResourceRow {
    fn from(row: Joined) -> Self {
        let agent = address(row.host.clone(), row.agent_port);
        let postgres = address(row.host, row.postgres_port);
        let base = row
            .participant
            .zip(row.server)
            .and_then(|(participant, server)| {
                Some(Base {
                    participant,
                    participant_state: row.participant_state?,
                    participant_destroy_requested: row.participant_destroy_requested,
                    restart_asked_at: row.restart_asked_at,
                    acknowledged_generation: row.acknowledged_generation?.unsigned_abs(),
                    incarnation: row.incarnation?.unsigned_abs(),
                    prober_password: row.prober_password?,
                    server,
                    server_state: row.server_state?,
                    postgres,
                    agent,
                    agent_seen_at: row.last_seen_at,
                })
            });
        Self {
            id: row.id,
            plan: row.plan,
            dedicated: row.dedicated,
            cadence_ms: u64::from(row.cadence_ms.unsigned_abs()),
            connection_limit: row.connection_limit.unsigned_abs(),
            state: row.state,
            state_since: row.state_since,
            deadline_at: row.deadline_at,
            destroy_requested_at: row.destroy_requested_at,
            database_name: row.database_name,
            role_name: row.role_name,
            has_secret: row.has_secret,
            instructed_generation: row.instructed_generation.map(i64::unsigned_abs),
            endpoint: address(row.endpoint_host, row.endpoint_port),
            endpoint_generation: row.endpoint_generation.unsigned_abs(),
            endpoint_acknowledged_generation: row.endpoint_acknowledged_generation.unsigned_abs(),
            endpoint_upstream: row.endpoint_upstream,
            request_id: row.request_id,
            version: row.version,
            open_alert: row.open_alert,
            postgres_started_at: row.postgres_started_at,
            base,
        }
    }
}

/// An operation that ends with a step.
#[derive(Debug, Clone)]
pub struct Finish {
    /// Which one.
    pub kind: OperationKind,
    /// How it ended.
    pub state: OperationState,
    /// Why it failed.
    pub error: Option<String>,
}

/// Records a step of the resource machine, the end of the operation that waited for it, and the job
/// that follows from it.
///
/// Entering `deprovisioning` forgets which generation covered the resource, so that a new one must
/// cover its removal. The caller owns the transaction: the statements hold together.
pub async fn move_resource(
    conn: &mut PgConnection,
    id: ResourceId,
    step: &Move<ResourceState>,
    finish: Option<&Finish>,
    job: Option<JobKind>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update resources
        set
            state = $4,
            state_since = case when state = $4 then state_since else $5 end,
            deadline_at = case when state = $4 then deadline_at else $6 end,
            problem = $7,
            instructed_generation = case
                when $4 = 'deprovisioning' then null else instructed_generation
            end,
            version = version + 1
        where id = $1 and version = $2 and state = $3
        "#,
        id.as_uuid(),
        step.version,
        step.from.as_str(),
        step.to.as_str(),
        step.at,
        step.deadline_at,
        step.problem,
    )
    .execute(&mut *conn)
    .await
    .map_err(DbError::during("record a step of a resource"))?;
    if done.rows_affected() != 1 {
        return Ok(Recorded::Overtaken);
    }
    insert_transition(conn, id, step).await?;
    if let Some(finish) = finish {
        finish_operation(conn, id, finish, step.at).await?;
    }
    if let Some(kind) = job {
        let key = JobKey {
            kind,
            subject_id: id.as_uuid(),
        };
        jobs::ask(conn, key, step.request_id, step.at).await?;
    }
    Ok(Recorded::Yes)
}

async fn insert_transition(
    conn: &mut PgConnection,
    id: ResourceId,
    step: &Move<ResourceState>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        insert into transitions (
            machine, subject_id, resource_id, from_state, event, to_state, why, detail,
            request_id, at
        )
        values ('resource', $1, $1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        id.as_uuid(),
        step.from.as_str(),
        step.event,
        step.to.as_str(),
        step.why,
        step.detail,
        step.request_id.as_uuid(),
        step.at,
    )
    .execute(conn)
    .await
    .map_err(DbError::during("record a step of a resource"))?;
    Ok(())
}

async fn finish_operation(
    conn: &mut PgConnection,
    id: ResourceId,
    finish: &Finish,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        update operations
        set state = $3, error = $4, finished_at = $5
        where resource_id = $1 and kind = $2 and state = 'pending'
        "#,
        id.as_uuid(),
        finish.kind.as_str(),
        finish.state.as_str(),
        finish.error,
        at,
    )
    .execute(conn)
    .await
    .map_err(DbError::during("finish an operation"))?;
    Ok(())
}

/// The password of a database's owner, encrypted for the row it goes to.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The password.
    pub password: Vec<u8>,
    /// Its SCRAM verifier.
    pub verifier: Vec<u8>,
}

/// Stores the owner's password, unless there is one.
pub async fn record_secret(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
    credential: &Credential,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update resources
        set password = $3, verifier = $4, version = version + 1
        where id = $1 and version = $2 and password is null and state = 'creating'
        "#,
        id.as_uuid(),
        version,
        credential.password,
        credential.verifier,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("record a secret"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Allocates the next generation of the endpoint, before it is told.
pub async fn allocate_route(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
    generation: u64,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update resources
        set endpoint_generation = $3::bigint, version = version + 1
        where id = $1 and version = $2 and endpoint_generation = $3::bigint - 1
        "#,
        id.as_uuid(),
        version,
        i64::try_from(generation).unwrap_or(i64::MAX),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("allocate a generation of the endpoint"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Stores the address customers use, as the endpoint acknowledged it for `route`.
pub async fn record_route(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
    route: &Route,
    address: &Address,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update resources
        set
            endpoint_host = $3,
            endpoint_port = $4,
            endpoint_upstream = $6,
            endpoint_acknowledged_generation = $5,
            version = version + 1
        where id = $1 and version = $2 and endpoint_generation = $5
        "#,
        id.as_uuid(),
        version,
        address.host,
        i32::from(address.port),
        i64::try_from(route.generation).unwrap_or(i64::MAX),
        route.upstream.to_string(),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("record a route"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Erases the address of a resource that is on its way out, as the endpoint acknowledged with
/// `generation`; for one with a server of its own, also asks for the end of the participant.
pub async fn withdraw(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
    generation: u64,
    at: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with withdrawn as (
            update resources
            set
                endpoint_host = null,
                endpoint_port = null,
                endpoint_upstream = null,
                endpoint_acknowledged_generation = $4,
                version = version + 1
            where id = $1 and version = $2 and endpoint_generation = $4 and state = 'deprovisioning'
            returning participant_id, plan
        ),
        ended as (
            update participants
            set destroy_requested_at = $3, version = version + 1
            from withdrawn
            join plans on plans.name = withdrawn.plan and plans.dedicated
            where
                participants.id = withdrawn.participant_id
                and participants.destroy_requested_at is null
            returning 1
        )
        select count(*) as "count!" from withdrawn
        "#,
        id.as_uuid(),
        version,
        at,
        i64::try_from(generation).unwrap_or(i64::MAX),
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("withdraw a resource"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}

/// Erases the secrets of a resource that is on its way out, with its newest observation, and
/// detaches it.
pub async fn forget(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with forgotten as (
            update resources
            set
                password = null,
                verifier = null,
                participant_id = null,
                endpoint_host = null,
                endpoint_port = null,
                endpoint_upstream = null,
                version = version + 1
            where id = $1 and version = $2 and state = 'deprovisioning'
            returning id
        ),
        unseen as (
            delete from observations using forgotten
            where observations.resource_id = forgotten.id
            returning 1
        )
        select count(*) as "count!" from forgotten
        "#,
        id.as_uuid(),
        version,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("forget a resource"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}

/// What a participant's spec must say about one attached resource.
#[derive(Debug, Clone)]
pub struct DatabaseWish {
    /// The resource.
    pub resource: ResourceId,
    /// Its database.
    pub database_name: String,
    /// Owner of the database.
    pub role_name: String,
    /// SCRAM verifier of the owner, encrypted; null before the secret was made.
    pub verifier: Option<Vec<u8>>,
    /// Most connections of the owner.
    pub connection_limit: i32,
    /// Whether it shall be there or be gone.
    pub wanted: bool,
    /// Whether a generation that was given covers that.
    pub covered: bool,
}

/// What the spec of `participant` must say about every attached resource, ordered by id so that
/// the same rows always make the same spec.
pub async fn databases_wanted(
    ex: impl PgExecutor<'_>,
    participant: ParticipantId,
) -> Result<Vec<DatabaseWish>, DbError> {
    sqlx::query_as!(
        DatabaseWish,
        r#"
        select
            resources.id as "resource: ResourceId",
            resources.database_name,
            resources.role_name,
            resources.verifier,
            plans.connection_limit,
            resources.state <> 'deprovisioning' as "wanted!",
            resources.instructed_generation is not null as "covered!"
        from resources
        join plans on plans.name = resources.plan
        where
            resources.participant_id = $1
            and (resources.verifier is not null or resources.state = 'deprovisioning')
        order by resources.id
        "#,
        participant.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("load the databases of a participant"))
}

/// Attached resources that wait for their participant, and the job that waits: those on their way
/// in or out. At most 1,000.
pub async fn resources_waiting_on(
    ex: impl PgExecutor<'_>,
    participant: ParticipantId,
) -> Result<Vec<(ResourceId, ResourceState)>, DbError> {
    let rows = sqlx::query!(
        r#"
        select id as "id: ResourceId", state as "state: ResourceState"
        from resources
        where
            participant_id = $1
            and state in ('creating', 'deprovisioning', 'unavailable', 'recovering')
        order by id
        limit 1000
        "#,
        participant.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the resources that wait"))?;
    Ok(rows.into_iter().map(|row| (row.id, row.state)).collect())
}
