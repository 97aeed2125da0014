//! The facts a decision about a resource is made from.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::agent_api::Phase;
use shared::db::fleet::{Base, ForkView, ResourceRow};
use shared::domain::Observation;
use shared::machine::resource::{
    AgentView, Attached, DiskView, Driver, EndpointView, Facts, Instruction, Seen, Source,
};

use super::Look;
use crate::context::{Asked, Context};

/// Age of an fsync probe or of a WAL wait beyond which writes count as hanging. The agent probes
/// every two seconds.
const DISK_HANGS_MS: u64 = 15_000;

pub(super) fn of(context: &Context, row: &ResourceRow, driver: Driver, look: &Look) -> Facts {
    let now = context.now();
    Facts {
        driver,
        state: row.state,
        time_in_state: since(now, row.state_since),
        deadline_passed: row.deadline_at.is_some_and(|deadline| deadline <= now),
        destroy_requested: row.destroy_requested_at.is_some(),
        cadence: Duration::from_millis(row.cadence_ms),
        dedicated: row.dedicated,
        secrets_made: row.has_secret,
        source: match &row.fork {
            None => Source::Empty,
            Some(ForkView::Wanted) => Source::Wanted,
            Some(ForkView::Planned(_)) => Source::Planned,
            Some(ForkView::Donated(_)) => Source::Donated,
            Some(ForkView::Refused(_)) => Source::Refused,
        },
        attached: row.base.as_ref().map(|base| attached(row, base, look, now)),
        endpoint: endpoint(row),
        seen: seen(row, look),
        disk: look
            .seen
            .as_ref()
            .map_or(DiskView::Unknown, |(observation, _)| disk(observation)),
    }
}

/// Time since `then`; zero if a clock says that it is still to come.
pub(crate) fn since(now: DateTime<Utc>, then: DateTime<Utc>) -> Duration {
    (now - then).to_std().unwrap_or_default()
}

fn attached(row: &ResourceRow, base: &Base, look: &Look, now: DateTime<Utc>) -> Attached {
    Attached {
        participant: base.participant_state,
        destroy_requested: base.participant_destroy_requested,
        server: base.server_state,
        instruction: match row.instructed_generation {
            None => Instruction::NotGiven,
            Some(generation) if generation <= base.acknowledged_generation => {
                Instruction::Acknowledged
            }
            Some(_) => Instruction::Given,
        },
        agent: look.agent.as_ref().map_or(AgentView::NotAsked, agent),
        restart_asked_ago: base.restart_asked_at.map(|asked| since(now, asked)),
    }
}

fn agent(asked: &Asked) -> AgentView {
    match asked {
        Asked::Refused => AgentView::Refused,
        Asked::Silent => AgentView::TimedOut,
        Asked::Answered(status) => match status.phase {
            Phase::Running if status.postgres.is_some() => AgentView::Runs,
            Phase::Running | Phase::Creating | Phase::Starting | Phase::Stopping => AgentView::Busy,
            Phase::Empty | Phase::Stopped | Phase::Removed => AgentView::Idle,
        },
    }
}

fn endpoint(row: &ResourceRow) -> EndpointView {
    let present = row
        .base
        .as_ref()
        .and_then(|base| base.postgres.as_ref())
        .map(ToString::to_string);
    if row.endpoint_acknowledged_generation != row.endpoint_generation {
        return EndpointView::Behind;
    }
    match &row.endpoint_upstream {
        None => EndpointView::Unset,
        Some(upstream) if Some(upstream) == present.as_ref() => EndpointView::Pointed,
        Some(_) => EndpointView::Behind,
    }
}

fn seen(row: &ResourceRow, look: &Look) -> Seen {
    let Some((observation, in_a_row)) = &look.seen else {
        return Seen::Nothing;
    };
    match observation.outage {
        Some(outage) => Seen::Absent {
            outage,
            in_a_row: (*in_a_row).max(1),
        },
        None => Seen::Answers {
            restarted: !look.restart_recorded && restarted(row, observation),
        },
    }
}

fn restarted(row: &ResourceRow, observation: &Observation) -> bool {
    let both = row.postgres_started_at.zip(observation.postgres_started_at);
    both.is_some_and(|(before, now)| before < now)
}

fn disk(observation: &Observation) -> DiskView {
    let hangs = |age: Option<u64>| age.is_some_and(|age| age >= DISK_HANGS_MS);
    if hangs(observation.disk_probe_age_ms) || hangs(observation.wal_wait_ms) {
        return DiskView::Hangs;
    }
    match observation
        .disk_used_bytes
        .zip(observation.disk_total_bytes)
    {
        Some((used, total)) if used > total - total / 10 => DiskView::NearlyFull,
        Some(_) => DiskView::Well,
        None => DiskView::Unknown,
    }
}
