//! Rows of resources, with what they stand on.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::ForkView;
use crate::db::DbError;
use crate::domain::{ParticipantState, ResourceState, ServerState};
use crate::ids::{ParticipantId, RequestId, ResourceId, RestoreId, ServerId};
use crate::ports::Address;

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
    /// Moment PostgreSQL started, as last recorded with an event; null before it was first ready.
    pub postgres_started_at: Option<DateTime<Utc>>,
    /// Where the copy stands that it begins as, while it is made; null if it begins empty, and
    /// later.
    pub fork: Option<ForkView>,
    /// Whether that copy goes on with what the original writes; false later.
    pub follows: bool,
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
                where
                    alerts.subject_id = resources.id
                    and alerts.subject_kind = 'resource'
                    and alerts.cleared_at is null
                limit 1
            ) as open_alert,
            resources.postgres_started_at,
            forks.parent_resource_id as "original?: ResourceId",
            forks.restore_id as "restore?: RestoreId",
            forks.follows as "follows?",
            forks.donor_id is not null and forks.transferred_at is null as "is_donated?",
            coalesce(forks.problem, restores.problem) as fork_problem,
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
        left join participants on participants.id = resources.participant_id
        left join servers on servers.id = participants.server_id
        left join forks on forks.resource_id = resources.id and resources.state = 'creating'
        left join restores on restores.id = forks.restore_id
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
    original: Option<ResourceId>,
    restore: Option<RestoreId>,
    follows: Option<bool>,
    fork_problem: Option<String>,
    is_donated: Option<bool>,
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
            fork: row
                .original
                .map(|_| ForkView::of(row.restore, row.is_donated == Some(true), row.fork_problem)),
            follows: row.follows.unwrap_or(false),
            base,
        }
    }
}
