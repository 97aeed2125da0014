//! Identifiers: one type for each kind of thing, so that two of them cannot be swapped.
//!
//! All are UUIDs of version 7: ordered by time of creation, so that indexes grow at one end and
//! keyset pagination by id is pagination by age.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not an identifier.
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is not a valid {kind} id: expected a UUID such as 019a9b3c-7d1e-7c3a-9f00-1b2c3d4e5f60"
)]
pub struct InvalidId {
    kind: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            sqlx::Type, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later in order than every id made before it by this process.
            #[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
            #[expect(clippy::new_without_default, reason = "a default id would be a surprise")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Takes a stored UUID for an id of this kind.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { kind: $kind, text: text.chars().take(64).collect() })
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }
    };
}

id!(
    /// What a customer gets: a name, a plan, a URL.
    ResourceId,
    "resource"
);
id!(
    /// One history of one database's data.
    TimelineId,
    "timeline"
);
id!(
    /// A PostgreSQL instance on a timeline.
    ParticipantId,
    "participant"
);
id!(
    /// The machine a participant runs on.
    ServerId,
    "server"
);
id!(
    /// One base backup of a timeline.
    BackupId,
    "backup"
);
id!(
    /// One restore of a timeline: what an instance is born from.
    RestoreId,
    "restore"
);
id!(
    /// One attempt to prove that a timeline can be restored.
    ProofId,
    "proof"
);
id!(
    /// One request of a customer that takes longer than an HTTP call.
    OperationId,
    "operation"
);
id!(
    /// An API token (not its secret).
    TokenId,
    "token"
);
id!(
    /// One request, followed through rows, queue, agents and logs.
    RequestId,
    "request"
);
id!(
    /// One live worker process.
    WorkerId,
    "worker"
);
id!(
    /// One replica of the gateway, for as long as its directory lives.
    GatewayId,
    "gateway"
);
