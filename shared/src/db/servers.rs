//! Servers as operators see them, each with the PostgreSQL on it. Turns read and write them through
//! `fleet`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::{DbError, Limit, Page};
use crate::domain::{ParticipantRole, ParticipantState, ServerState};
use crate::ids::{ParticipantId, ServerId};

/// A living server and the participant on it, whose columns are none when there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Id of the server.
    pub id: ServerId,
    /// Who runs the machine.
    pub provider: String,
    /// Plan whose resources it may carry.
    pub plan: String,
    /// Where it is in its life.
    pub state: ServerState,
    /// Moment it entered this state.
    pub state_since: DateTime<Utc>,
    /// The provider's own name for it.
    pub instance_id: Option<String>,
    /// Address of agent and PostgreSQL.
    pub host: Option<String>,
    /// TCP port of the agent.
    pub agent_port: Option<i32>,
    /// TCP port of PostgreSQL.
    pub postgres_port: Option<i32>,
    /// Availability zone.
    pub zone: Option<String>,
    /// Moment the agent last answered.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Why it is not well.
    pub problem: Option<String>,
    /// Moment it was asked for.
    pub created_at: DateTime<Utc>,
    /// Living resources on it.
    pub resources: i64,
    /// PostgreSQL on it.
    pub participant: Option<Participant>,
}

/// A living participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Id of the participant.
    pub id: ParticipantId,
    /// What it does on its timeline.
    pub role: ParticipantRole,
    /// Where it is in its life.
    pub state: ParticipantState,
    /// Moment it entered this state.
    pub state_since: DateTime<Utc>,
    /// Major version of PostgreSQL.
    pub postgres_major: i32,
    /// Number of the newest instruction.
    pub generation: i64,
    /// Highest number whose instruction is carried out in full.
    pub acknowledged_generation: i64,
    /// How often PostgreSQL ended without being told to.
    pub crashes: i64,
    /// Why it is not well.
    pub problem: Option<String>,
}

/// Living servers in order of age, those after `after`.
pub async fn list(
    executor: impl PgExecutor<'_>,
    after: Option<ServerId>,
    limit: Limit,
) -> Result<Page<Server, ServerId>, DbError> {
    let rows = sqlx::query!(
        r#"
        select s.id, s.provider, s.plan, s.state as "state: ServerState", s.state_since,
            s.instance_id, s.host, s.agent_port, s.postgres_port, s.zone, s.last_seen_at, s.problem,
            s.created_at,
            (
                select count(*)
                from resources r
                where r.participant_id = p.id
            ) as "resources!",
            p.id as "participant_id?", p.role as "participant_role?: ParticipantRole",
            p.state as "participant_state?: ParticipantState",
            p.state_since as "participant_state_since?", p.postgres_major as "postgres_major?",
            p.generation as "generation?", p.acknowledged_generation as "acknowledged_generation?",
            p.crashes as "crashes?", p.problem as participant_problem
        from servers s
        left join participants p on p.server_id = s.id and p.state <> 'removed'
        where s.state <> 'terminated' and ($1::uuid is null or s.id > $1)
        order by s.id
        limit $2
        "#,
        after.map(ServerId::as_uuid),
        limit.and_one()
    )
    .map(|row| Server {
        id: row.id.into(),
        provider: row.provider,
        plan: row.plan,
        state: row.state,
        state_since: row.state_since,
        instance_id: row.instance_id,
        host: row.host,
        agent_port: row.agent_port,
        postgres_port: row.postgres_port,
        zone: row.zone,
        last_seen_at: row.last_seen_at,
        problem: row.problem,
        created_at: row.created_at,
        resources: row.resources,
        // One column of the participant is there if and only if all are.
        participant: (|| {
            Some(Participant {
                id: row.participant_id?.into(),
                role: row.participant_role?,
                state: row.participant_state?,
                state_since: row.participant_state_since?,
                postgres_major: row.postgres_major?,
                generation: row.generation?,
                acknowledged_generation: row.acknowledged_generation?,
                crashes: row.crashes?,
                problem: row.participant_problem,
            })
        })(),
    })
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the servers"))?;
    Ok(Page::of(rows, limit, |row| row.id))
}
