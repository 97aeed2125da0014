//! What is remembered of each resource between two looks.
//!
//! Nothing depends on it for long: a worker that takes a resource over starts from the stored
//! observation ([`Newest::seed`]), or from nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::domain::{Observation, TableUse};
use shared::ids::ResourceId;
use shared::units::Lsn;
use tokio::time::Instant;

/// What is known of a resource from earlier looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The newest observation.
    pub observation: Observation,
    /// Since when it is as available, or as absent, as it is now: the first look that saw it so.
    pub since: DateTime<Utc>,
    /// How often in a row the service was absent, the newest look included; 0 if that found it.
    pub absent_in_a_row: u32,
    /// The start of PostgreSQL before the present one, as far as it was seen: set by the look that
    /// finds PostgreSQL restarted, null in the next one.
    pub restarted_from: Option<DateTime<Utc>>,
    /// The last survey that succeeded.
    pub(super) survey: Option<(TableUse, u64)>,
    /// When the last survey was tried.
    pub(super) survey_tried_at: Option<DateTime<Utc>>,
    /// The WAL position just before the size was measured last; null if it is not known from here.
    pub(super) sized_at: Option<Lsn>,
    /// The WAL position, and the last look that saw another one; the first look, if none did.
    pub(super) wal: Option<(Lsn, DateTime<Utc>)>,
    /// The last start of PostgreSQL that was seen.
    started_at: Option<DateTime<Utc>>,
    felt_at: Instant,
}

/// A survey that was part of a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tried {
    /// Moment of the look.
    pub(super) at: DateTime<Utc>,
    /// WAL position of the look, if the size was measured after it.
    pub(super) sized_at: Option<Lsn>,
}

/// The newest observation of each resource that this worker felt.
#[derive(Debug, Default)]
pub struct Newest(Mutex<HashMap<ResourceId, Seen>>);

impl Newest {
    /// What is known of a resource; `None` before the first look.
    pub fn get(&self, resource: ResourceId) -> Option<Seen> {
        self.lock().get(&resource).cloned()
    }

    /// Begins with a stored observation. Does nothing if the resource is known here.
    pub fn seed(&self, resource: ResourceId, stored: Observation) {
        let mut all = self.lock();
        all.entry(resource)
            .or_insert_with(|| Seen::after(None, stored, None));
    }

    /// Forgets a resource that is no more.
    pub fn forget(&self, resource: ResourceId) {
        self.lock().remove(&resource);
    }

    /// Takes a look into account, and the survey that was tried with it.
    pub(super) fn record(
        &self,
        resource: ResourceId,
        observation: Observation,
        tried: Option<Tried>,
    ) {
        let mut all = self.lock();
        let seen = Seen::after(all.get(&resource), observation, tried);
        all.insert(resource, seen);
    }

    /// Forgets what was not felt here for `idle`.
    pub(super) fn forget_idle(&self, idle: Duration) {
        self.lock().retain(|_, seen| seen.felt_at.elapsed() < idle);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ResourceId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn after(before: Option<&Self>, observation: Observation, tried: Option<Tried>) -> Self {
        let now = observation.observed_at;
        let since = before
            .filter(|seen| seen.observation.available == observation.available)
            .map_or(now, |seen| seen.since);
        let known_start = before.and_then(|seen| seen.started_at);
        let restarted_from = known_start.filter(|known| {
            observation
                .postgres_started_at
                .is_some_and(|at| at != *known)
        });
        let survey = observation.tables.zip(observation.database_size_bytes);
        let wal = match (observation.wal_lsn, before) {
            (None, seen) => seen.and_then(|seen| seen.wal),
            (Some(lsn), None) => Some((lsn, now)),
            (Some(lsn), Some(seen)) => Some(seen.wal.map_or((lsn, now), |(known, at)| {
                (
                    lsn,
                    if known == lsn {
                        at
                    } else {
                        seen.observation.observed_at
                    },
                )
            })),
        };
        let absent_in_a_row = if observation.available {
            0
        } else {
            before
                .map_or(0, |seen| seen.absent_in_a_row)
                .saturating_add(1)
        };
        Self {
            since,
            absent_in_a_row,
            restarted_from,
            survey: survey.or_else(|| before.and_then(|seen| seen.survey)),
            survey_tried_at: tried
                .map(|tried| tried.at)
                .or_else(|| before.and_then(|seen| seen.survey_tried_at)),
            sized_at: tried
                .and_then(|tried| tried.sized_at)
                .or_else(|| before.and_then(|seen| seen.sized_at)),
            wal,
            started_at: observation.postgres_started_at.or(known_start),
            felt_at: Instant::now(),
            observation,
        }
    }

    /// Whether a survey is due. A clock that was set back makes it due.
    pub(super) fn survey_due(&self, now: DateTime<Utc>, every: chrono::Duration) -> bool {
        let last = [
            self.survey_tried_at,
            self.survey.map(|(tables, _)| tables.counted_at),
        ];
        last.into_iter()
            .flatten()
            .max()
            .is_none_or(|last| now < last || now - last >= every)
    }
}

#[cfg(test)]
mod tests;
