//! Tokens.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::TokenScope;
use crate::ids::TokenId;
use crate::secret::Secret;

/// Asks for a new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What people call it, 1 to 80 characters.
    pub name: String,
    /// What it shall allow; each scope includes the ones before it.
    pub scope: TokenScope,
    /// Days until it is refused, 1 to 3650; 90 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_days: Option<u32>,
}

/// A token, without its secret, which nobody knows any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Id of the token; not secret.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scope: TokenScope,
    /// Moment it was made.
    pub created_at: DateTime<Utc>,
    /// Moment from which it is refused.
    pub expires_at: DateTime<Utc>,
    /// Moment it was taken back; null while it is good.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A new token with its secret, which is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// What to send as `Authorization: Bearer …`.
    #[schema(value_type = String)]
    pub secret: Secret,
}
