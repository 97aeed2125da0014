//! From what a look found to an observation.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::agent_api::InstanceStatus;
use shared::domain::{ConnectionUse, Observation, Outage, TableUse};

use super::Target;
use super::look::{Look, Survey};
use super::newest::Seen;

/// Everything an observation is made of.
pub(super) struct Parts<'a> {
    pub(super) target: &'a Target,
    /// Moment of the look.
    pub(super) now: DateTime<Utc>,
    /// What PostgreSQL answered and how long that took, or why it did not.
    pub(super) look: Result<(Look, Duration), Outage>,
    /// A survey, if one was due and succeeded.
    pub(super) survey: Option<Survey>,
    /// The agent's view, if it was asked.
    pub(super) agent: Option<&'a InstanceStatus>,
    /// What is known from earlier looks.
    pub(super) before: Option<&'a Seen>,
}

/// Puts an observation together.
pub(super) fn observation(parts: Parts<'_>) -> Observation {
    let Parts {
        target,
        now,
        look,
        survey,
        agent,
        before,
    } = parts;
    let mut observation = match look {
        Err(outage) => Observation::absent(now, outage),
        Ok((look, took)) => {
            let known = before.and_then(|seen| seen.survey);
            let (known_tables, known_size) = known.unzip();
            let tables = survey.map(|survey| survey.table_use(now)).or(known_tables);
            let size_bytes = survey.and_then(|survey| survey.size_bytes).or(known_size);
            Observation {
                observed_at: now,
                available: true,
                outage: None,
                response_ms: Some(took.as_secs_f64() * 1000.0),
                postgres_started_at: Some(look.started_at),
                connections: Some(ConnectionUse {
                    open: look.open,
                    active: look.active,
                    limit: target.connection_limit,
                }),
                tables,
                database_size_bytes: size_bytes,
                wal_lsn: look.wal_lsn,
                replay: look.replay,
                cache_hit_ratio: look.cache_hit_ratio(),
                oldest_transaction_s: look.oldest_transaction_s,
                wal_wait_ms: wal_wait_ms(&look, now, before),
                ..Observation::absent(now, Outage::Refused)
            }
        }
    };
    if let Some(agent) = agent {
        add_agent(&mut observation, agent);
    }
    observation
}

/// A statement that waits for the WAL now need not have waited since it began: as long as the WAL
/// moves, no wait is older than its last move. Of the first look nothing older is known.
fn wal_wait_ms(look: &Look, now: DateTime<Utc>, before: Option<&Seen>) -> Option<u64> {
    let statement = Duration::try_from_secs_f64(look.wal_wait_s?).unwrap_or(Duration::MAX);
    let standing = before
        .and_then(|seen| {
            let (lsn, at) = seen.wal?;
            let moved_at = if Some(lsn) == look.wal_lsn {
                at
            } else {
                seen.observation.observed_at
            };
            (now - moved_at).to_std().ok()
        })
        .unwrap_or_default();
    Some(u64::try_from(statement.min(standing).as_millis()).unwrap_or(u64::MAX))
}

/// What only the agent sees, and what it sees in place of a PostgreSQL that did not answer us.
fn add_agent(observation: &mut Observation, agent: &InstanceStatus) {
    let disk = agent.disk;
    observation.disk_used_bytes = Some(disk.used_bytes);
    observation.disk_total_bytes = Some(disk.total_bytes);
    observation.disk_probe_age_ms = Some(disk.probe_age_ms);
    observation.disk_probe_took_ms = disk.probe_took_ms;
    if !observation.available {
        observation.wal_wait_ms = agent.postgres.as_ref().and_then(|seen| seen.wal_wait_ms);
    }
}

impl Survey {
    fn table_use(&self, counted_at: DateTime<Utc>) -> TableUse {
        TableUse {
            count: self.tables,
            rows_estimated: self.rows_estimated,
            sequential_scans: self.sequential_scans,
            index_scans: self.index_scans,
            counted_at,
        }
    }
}

#[cfg(test)]
mod tests;
