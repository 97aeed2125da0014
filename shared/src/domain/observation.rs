//! What `feel` saw of one resource at one moment.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::Lsn;

/// What was seen of a resource at one moment. Fields of a service that did not answer are null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Observation {
    /// Moment of the look.
    pub observed_at: DateTime<Utc>,
    /// Whether the service answered in time.
    pub available: bool,
    /// Why it is not available; null when it is.
    pub outage: Option<Outage>,
    /// Milliseconds the answer took; null without one.
    pub response_ms: Option<f64>,
    /// Moment PostgreSQL started: another value than before means that it was restarted.
    pub postgres_started_at: Option<DateTime<Utc>>,
    /// Connections of customers.
    pub connections: Option<ConnectionUse>,
    /// Tables, rows and scans; kept from the last count where counting is slower than looking.
    pub tables: Option<TableUse>,
    /// Size of the database in bytes.
    pub database_size_bytes: Option<u64>,
    /// Current WAL position.
    #[schema(value_type = Option<String>, example = "0/16B3748")]
    pub wal_lsn: Option<Lsn>,
    /// Of one that replays what another one writes: how that goes; null for one that writes.
    #[serde(default)]
    pub replay: Option<Replay>,
    /// Share of block reads served from memory since the statistics were reset, 0 to 1; null while
    /// nothing was read.
    pub cache_hit_ratio: Option<f64>,
    /// Age of the oldest open transaction in seconds; null when none is open.
    pub oldest_transaction_s: Option<f64>,
    /// Age in milliseconds of the oldest wait for a WAL write or sync; null when none waits.
    pub wal_wait_ms: Option<u64>,
    /// Bytes in use on the file system of the data; null when the agent did not tell.
    pub disk_used_bytes: Option<u64>,
    /// Size of that file system in bytes.
    pub disk_total_bytes: Option<u64>,
    /// Milliseconds since the agent's last fsync probe finished. A disk that hangs shows as a
    /// growing age.
    pub disk_probe_age_ms: Option<u64>,
    /// Milliseconds that probe took.
    pub disk_probe_took_ms: Option<u64>,
}

/// Why a service was not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// The server said so at once: connection refused or reset, or PostgreSQL is starting up or
    /// shutting down.
    Refused,
    /// No answer within the deadline: wedged, overloaded, or cut off.
    TimedOut,
    /// It answered with an error that a working service would not give (for example: the database
    /// or our role is missing).
    Broken,
}

/// How a database replays what its leader writes. How far it is, is its WAL position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Whether it streams from its leader; else it reads the archive.
    pub streaming: bool,
    /// Moment of the last commit that was replayed, by the clock of the leader; null before the first
    /// since it was started.
    pub last_commit_at: Option<DateTime<Utc>>,
}

/// Connections of customers to one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionUse {
    /// Open now.
    pub open: u32,
    /// In the middle of a statement now.
    pub active: u32,
    /// Most allowed by the plan.
    pub limit: u32,
}

/// Tables of one database and how they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TableUse {
    /// Number of tables.
    pub count: u64,
    /// Live rows, as PostgreSQL estimates.
    pub rows_estimated: u64,
    /// Sequential scans since the statistics were reset.
    pub sequential_scans: u64,
    /// Index scans since the statistics were reset.
    pub index_scans: u64,
    /// Moment of the count.
    pub counted_at: DateTime<Utc>,
}

impl Observation {
    /// An observation of a service that did not answer.
    pub fn absent(observed_at: DateTime<Utc>, outage: Outage) -> Self {
        Self {
            observed_at,
            available: false,
            outage: Some(outage),
            response_ms: None,
            postgres_started_at: None,
            connections: None,
            tables: None,
            database_size_bytes: None,
            wal_lsn: None,
            replay: None,
            cache_hit_ratio: None,
            oldest_transaction_s: None,
            wal_wait_ms: None,
            disk_used_bytes: None,
            disk_total_bytes: None,
            disk_probe_age_ms: None,
            disk_probe_took_ms: None,
        }
    }
}
