//! Servers: for operators only.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{ParticipantRole, ParticipantState, ServerState};
use crate::ids::{ParticipantId, ServerId};

/// A machine that carries databases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// The provider's own name for it; null before it is known.
    pub instance_id: Option<String>,
    /// Address; null before it is known.
    pub host: Option<String>,
    /// TCP port of the agent.
    pub agent_port: Option<i32>,
    /// TCP port of PostgreSQL.
    pub postgres_port: Option<i32>,
    /// Availability zone; null where the provider has none.
    pub zone: Option<String>,
    /// Moment the agent last answered; null before the first time.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Why it is not well; null when it is.
    pub problem: Option<String>,
    /// PostgreSQL on it; null when there is none.
    pub participant: Option<ParticipantSummary>,
    /// Living resources on it.
    pub resources: i64,
    /// Moment it was asked for.
    pub created_at: DateTime<Utc>,
}

/// PostgreSQL on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParticipantSummary {
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
    /// Why it is not well; null when it is.
    pub problem: Option<String>,
}
