//! The queue, its jobs, and whether the control plane is ready.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{JobKind, JobState};
use crate::ids::RequestId;

/// One ring of the queue, over all its shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RingStats {
    /// Name of the ring.
    pub ring: String,
    /// Members: waiting and leased.
    pub size: u64,
    /// Members that are due now.
    pub due: u64,
    /// Members that a worker holds.
    pub leased: u64,
    /// Leases that have expired and were not taken over yet.
    pub expired: u64,
    /// Milliseconds since the oldest due member became due; 0 when none is.
    pub oldest_due_age_ms: u64,
    /// Shards of the ring.
    pub shards: u16,
    /// Shards that are missing in Redis and wait to be built again.
    pub shards_missing: u16,
}

/// Work with an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// What is to be done.
    pub kind: JobKind,
    /// Id of what it is done to.
    pub subject_id: Uuid,
    /// Name of that resource.
    pub resource_name: Option<String>,
    /// Whether it is still tried.
    pub state: JobState,
    /// Failed turns in a row.
    pub attempts: i32,
    /// What the last failed turn said; null before the first.
    pub last_error: Option<String>,
    /// Request that asked for it.
    pub request_id: RequestId,
    /// Moment it was asked for.
    pub created_at: DateTime<Utc>,
    /// Moment of the last failed turn or change of state.
    pub changed_at: DateTime<Utc>,
}

/// Whether the API can do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether requests can be carried out: the control database answers.
    pub ready: bool,
    /// The control database: without it nothing works.
    pub control_database: Dependency,
    /// Redis: without it new work starts later, at the next audit.
    pub redis: Dependency,
}

/// Something the API needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dependency {
    /// It answers.
    Up,
    /// It does not.
    Down,
}
