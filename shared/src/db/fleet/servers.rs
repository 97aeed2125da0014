//! Rows of machines.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{Move, Recorded};
use crate::db::DbError;
use crate::domain::ServerState;
use crate::ids::{RequestId, ServerId};
use crate::ports::Machine;

/// A machine, as the control database knows it.
#[derive(Debug, Clone)]
pub struct ServerRow {
    /// Id of the server.
    pub id: ServerId,
    /// Who runs it.
    pub provider: String,
    /// Whether one resource has it for itself.
    pub dedicated: bool,
    /// Milliseconds between two turns of its plan's resources.
    pub cadence_ms: u64,
    /// Connections that all databases on it may hold together.
    pub connections: u32,
    /// Where it is in its life.
    pub state: ServerState,
    /// Moment it entered this state.
    pub state_since: DateTime<Utc>,
    /// Moment after which this state raises an alert.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Moment somebody decided that it shall go.
    pub destroy_requested_at: Option<DateTime<Utc>>,
    /// Address of agent and PostgreSQL.
    pub host: Option<String>,
    /// TCP port of the agent.
    pub agent_port: Option<u16>,
    /// TCP port of PostgreSQL.
    pub postgres_port: Option<u16>,
    /// Size in bytes of the file system of the data, as last told.
    pub disk_bytes: Option<u64>,
    /// The machine's boot, as last told.
    pub boot_id: Option<String>,
    /// Moment the agent last answered, as last recorded.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Name of the open alert about it.
    pub open_alert: Option<String>,
    /// Request that made it.
    pub request_id: RequestId,
    /// Version of the row.
    pub version: i64,
}

/// The machines `ids`, in no particular order; those that never were are left out.
pub async fn load_servers(
    ex: impl PgExecutor<'_>,
    ids: &[ServerId],
) -> Result<Vec<ServerRow>, DbError> {
    let ids: Vec<_> = ids.iter().map(|id| id.as_uuid()).collect();
    let rows = sqlx::query!(
        r#"
        select
            servers.id as "id: ServerId",
            provider,
            plans.dedicated,
            plans.cadence_ms,
            plans.connection_limit * plans.databases_per_server as "connections!",
            state as "state: ServerState",
            state_since,
            deadline_at,
            destroy_requested_at,
            host,
            agent_port,
            postgres_port,
            disk_bytes,
            boot_id,
            last_seen_at,
            (
                select alerts.name from alerts
                where alerts.subject_id = servers.id and alerts.cleared_at is null
                limit 1
            ) as open_alert,
            request_id as "request_id: RequestId",
            version
        from servers
        join plans on plans.name = servers.plan
        where servers.id = any($1)
        "#,
        &ids,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("load servers"))?;
    let rows = rows.into_iter().map(|row| ServerRow {
        id: row.id,
        provider: row.provider,
        dedicated: row.dedicated,
        cadence_ms: u64::from(row.cadence_ms.unsigned_abs()),
        connections: row.connections.unsigned_abs(),
        state: row.state,
        state_since: row.state_since,
        deadline_at: row.deadline_at,
        destroy_requested_at: row.destroy_requested_at,
        host: row.host,
        agent_port: row.agent_port.and_then(|port| u16::try_from(port).ok()),
        postgres_port: row.postgres_port.and_then(|port| u16::try_from(port).ok()),
        disk_bytes: row.disk_bytes.map(i64::unsigned_abs),
        boot_id: row.boot_id,
        last_seen_at: row.last_seen_at,
        open_alert: row.open_alert,
        request_id: row.request_id,
        version: row.version,
    });
    Ok(rows.collect())
}

/// Records a step of the server machine.
pub async fn move_server(
    ex: impl PgExecutor<'_>,
    id: ServerId,
    step: &Move<ServerState>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with moved as (
            update servers
            set
                state = $4,
                state_since = case when state = $4 then state_since else $9 end,
                deadline_at = case when state = $4 then deadline_at else $10 end,
                problem = $11,
                version = version + 1
            where id = $1 and version = $2 and state = $3
            returning id
        )
        insert into transitions (
            machine, subject_id, resource_id, from_state, event, to_state, why, detail,
            request_id, at
        )
        select
            'server',
            moved.id,
            (
                select resources.id
                from participants
                join resources on resources.participant_id = participants.id
                join plans on plans.name = resources.plan and plans.dedicated
                where participants.server_id = moved.id
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
    )
    .execute(ex)
    .await
    .map_err(DbError::during("record a step of a server"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// What an agent said of its machine.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Its boot.
    pub boot_id: &'a str,
    /// Size in bytes of the file system of the data; null if it does not know yet.
    pub disk_bytes: Option<u64>,
    /// Moment it said so.
    pub at: DateTime<Utc>,
}

/// Records where the machine is, and what its agent said; null if that did not answer.
pub async fn record_contact(
    ex: impl PgExecutor<'_>,
    (id, version): (ServerId, i64),
    machine: &Machine,
    heard: Option<Heard<'_>>,
) -> Result<Recorded, DbError> {
    let disk_bytes = heard.and_then(|heard| heard.disk_bytes);
    let done = sqlx::query!(
        r#"
        update servers
        set
            instance_id = coalesce($3, instance_id),
            host = coalesce($4, host),
            agent_port = coalesce($5, agent_port),
            postgres_port = coalesce($6, postgres_port),
            boot_id = coalesce($7, boot_id),
            last_seen_at = coalesce($8, last_seen_at),
            disk_bytes = coalesce($9, disk_bytes),
            version = version + 1
        where id = $1 and version = $2
        "#,
        id.as_uuid(),
        version,
        machine.instance_id,
        machine.host,
        machine.agent_port.map(i32::from),
        machine.postgres_port.map(i32::from),
        heard.map(|heard| heard.boot_id),
        heard.map(|heard| heard.at),
        disk_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("record the contact with a server"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Notes that the machine shall go. Idempotent.
pub async fn request_server_end(
    ex: impl PgExecutor<'_>,
    id: ServerId,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        update servers
        set destroy_requested_at = $2, version = version + 1
        where id = $1 and destroy_requested_at is null
        "#,
        id.as_uuid(),
        at,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("ask for the end of a server"))?;
    Ok(())
}
