//! What is felt: one database, and the server it is found on.

use std::sync::Arc;

use shared::ids::{ParticipantId, ResourceId};
use shared::secret::Secret;

/// A database to feel. Assembled from the control database for each turn; cheap to clone.
#[derive(Debug, Clone)]
pub struct Target {
    /// Resource the observation is about.
    pub resource: ResourceId,
    /// Instance that holds the database. One connection is kept for each.
    pub participant: ParticipantId,
    /// Host name or address of its server.
    pub host: String,
    /// TCP port of its PostgreSQL.
    pub port: u16,
    /// Name that the certificate of the server must carry
    /// (`<server id>.server.ringmaster.internal`). Not the host: many servers may share an address.
    pub server_name: String,
    /// Certificates of the authority that signed it, PEM.
    pub ca_pem: Arc<str>,
    /// Password of [`shared::agent_api::PROBER_ROLE`] on this participant.
    pub prober_password: Secret,
    /// Name of the database.
    pub database: String,
    /// Role of the customer. A service without it is broken.
    pub customer_role: String,
    /// Most connections the plan allows.
    pub connection_limit: u32,
    /// Whether other resources live on this participant. Then the kept connection is not to this
    /// database, but to `postgres`.
    pub shared: bool,
}

impl Target {
    /// The database that the kept connection is to.
    pub(super) fn kept_database(&self) -> &str {
        if self.shared {
            "postgres"
        } else {
            &self.database
        }
    }
}
