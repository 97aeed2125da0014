//! Operations.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{OperationKind, OperationState};
use crate::ids::{OperationId, RequestId, ResourceId};

/// A request that takes longer than an HTTP call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// Id of the operation.
    pub id: OperationId,
    /// What was asked for.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// Why it failed; null otherwise.
    pub error: Option<String>,
    /// Resource it is about.
    pub resource_id: ResourceId,
    /// Name of that resource.
    pub resource_name: String,
    /// Request that asked for it.
    pub request_id: RequestId,
    /// Moment it was asked for.
    pub created_at: DateTime<Utc>,
    /// Moment it ended; null while pending.
    pub finished_at: Option<DateTime<Utc>>,
}
