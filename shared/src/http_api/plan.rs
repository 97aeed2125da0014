//! Plans.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a customer can choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Name, to be sent as `plan`.
    pub name: String,
    /// Whether new resources may choose it.
    pub offered: bool,
    /// Whether each resource gets a server of its own.
    pub dedicated: bool,
    /// Most connections to one database.
    pub connection_limit: i32,
    /// Milliseconds between two looks at an available database.
    pub cadence_ms: i32,
}
