//! What a turn of a proof is made from.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::DbError;
use crate::domain::{ParticipantState, ProofState};
use crate::ids::{ParticipantId, ProofId, RequestId, ResourceId, ServerId, TimelineId};
use crate::ports::Address;

/// A timeline that is to be proven.
#[derive(Debug, Clone)]
pub struct ProofRow {
    /// The timeline.
    pub timeline: TimelineId,
    /// What is proven; null if no leader of it lives any more.
    pub original: Option<Original>,
    /// The proof under way; null if it has ended.
    pub proof: Option<RunningProof>,
}

/// What is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Plan of its server.
    pub plan: String,
    /// Major version of its PostgreSQL.
    pub postgres_major: u16,
    /// The resource that has it for itself; null if many share it.
    pub resource: Option<ResourceId>,
}

/// A proof that has not ended.
#[derive(Debug, Clone)]
pub struct RunningProof {
    /// The proof.
    pub id: ProofId,
    /// Where it stands.
    pub state: ProofState,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Moment it was asked for.
    pub asked_at: DateTime<Utc>,
    /// Moment it was planned; null before.
    pub started_at: Option<DateTime<Utc>>,
    /// Moment it or its restore last came forward.
    pub moved_at: DateTime<Utc>,
    /// What is restored to be checked; null before it is planned.
    pub trial: Option<TrialInstance>,
}

/// An instance that is restored to be checked.
#[derive(Debug, Clone)]
pub struct TrialInstance {
    /// The instance.
    pub participant: ParticipantId,
    /// Where it is in its life.
    pub state: ParticipantState,
    /// Whether it shall go.
    pub is_going: bool,
    /// Number of its newest instruction.
    pub generation: u64,
    /// Its server.
    pub server: ServerId,
    /// Where its agent is reached; null before that is known.
    pub agent: Option<Address>,
    /// Why its restore will not be finished; null while it may be.
    pub problem: Option<String>,
}

/// What a proof of `timeline` is made from; null if nobody asks for one.
pub async fn load_proof(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<Option<ProofRow>, DbError> {
    let row = sqlx::query_as!(
        Joined,
        r#"
        select
            jobs.subject_id as "timeline: TimelineId",
            originals.postgres_major as "postgres_major?",
            plans.name as "plan?",
            (
                select resources.id
                from resources
                where resources.participant_id = originals.id and plans.dedicated
                limit 1
            ) as "resource?: ResourceId",
            proofs.id as "proof?: ProofId",
            proofs.state as "state?: ProofState",
            proofs.request_id as "request_id?: RequestId",
            proofs.asked_at as "asked_at?",
            proofs.started_at,
            greatest(proofs.moved_at, restores.moved_at, trials.state_since) as moved_at,
            trials.id as "participant?: ParticipantId",
            trials.state as "participant_state?: ParticipantState",
            trials.destroy_requested_at is not null as "is_going!",
            trials.generation as "generation?",
            trials.server_id as "server?: ServerId",
            homes.host,
            homes.agent_port,
            restores.problem
        from jobs
        left join participants as originals
            on originals.timeline_id = jobs.subject_id
            and originals.role = 'leader'
            and originals.state <> 'removed'
            and originals.destroy_requested_at is null
        left join servers on servers.id = originals.server_id
        left join plans on plans.name = servers.plan
        left join proofs
            on proofs.timeline_id = jobs.subject_id
            and proofs.state in ('wanted', 'restoring', 'checking')
        left join restores on restores.id = proofs.restore_id
        left join participants as trials on trials.id = proofs.participant_id
        left join servers as homes on homes.id = trials.server_id
        where jobs.kind = 'verify' and jobs.subject_id = $1 and jobs.state = 'pending'
        "#,
        timeline.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("load what a proof is made from"))?;
    Ok(row.map(ProofRow::from))
}

struct Joined {
    timeline: TimelineId,
    postgres_major: Option<i32>,
    plan: Option<String>,
    resource: Option<ResourceId>,
    proof: Option<ProofId>,
    state: Option<ProofState>,
    request_id: Option<RequestId>,
    asked_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    moved_at: Option<DateTime<Utc>>,
    participant: Option<ParticipantId>,
    participant_state: Option<ParticipantState>,
    is_going: bool,
    generation: Option<i64>,
    server: Option<ServerId>,
    host: Option<String>,
    agent_port: Option<i32>,
    problem: Option<String>,
}

impl Joined {
    fn original(&self) -> Option<Original> {
        Some(Original {
            plan: self.plan.clone()?,
            postgres_major: u16::try_from(self.postgres_major?).unwrap_or(0),
            resource: self.resource,
        })
    }

    fn trial(&self) -> Option<TrialInstance> {
        let port = self.agent_port.and_then(|port| u16::try_from(port).ok());
        let agent = self.host.clone().zip(port);
        Some(TrialInstance {
            participant: self.participant?,
            state: self.participant_state?,
            is_going: self.is_going,
            generation: self.generation?.unsigned_abs(),
            server: self.server?,
            agent: agent.map(|(host, port)| Address { host, port }),
            problem: self.problem.clone(),
        })
    }

    fn proof(&self) -> Option<RunningProof> {
        Some(RunningProof {
            id: self.proof?,
            state: self.state?,
            request_id: self.request_id?,
            asked_at: self.asked_at?,
            started_at: self.started_at,
            moved_at: self.moved_at?,
            trial: self.trial(),
        })
    }
}

impl From<Joined> for ProofRow {
    fn from(row: Joined) -> Self {
        Self {
            timeline: row.timeline,
            original: row.original(),
            proof: row.proof(),
        }
    }
}
