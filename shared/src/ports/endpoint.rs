//! What makes the URL of a resource stable.

use std::fmt;

use futures::future::BoxFuture;

use crate::ids::ResourceId;

/// Points the URL of a resource at a participant.
pub trait Endpoint: Send + Sync {
    /// Points `route.resource` at `route.upstream`, and answers the address customers use once the
    /// route is in force. Idempotent; a lower generation than one already in force is refused.
    fn point<'a>(&'a self, route: &'a Route) -> BoxFuture<'a, Result<Address, EndpointError>>;

    /// Takes the route of `resource` away, as word number `generation`. Idempotent.
    fn withdraw(
        &self,
        resource: ResourceId,
        generation: u64,
    ) -> BoxFuture<'_, Result<(), EndpointError>>;
}

/// Where the URL of a resource shall lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The resource.
    pub resource: ResourceId,
    /// Number of this word, larger than the one before.
    pub generation: u64,
    /// Address of the participant's PostgreSQL.
    pub upstream: Address,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An endpoint that could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It may work later.
    #[error("the endpoint of resource {resource} could not be changed")]
    Transient {
        /// The resource.
        resource: ResourceId,
        /// What the endpoint said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer route is in force.
    #[error("a newer route than generation {generation} of resource {resource} is in force")]
    OldGeneration {
        /// The resource.
        resource: ResourceId,
        /// The generation that was refused.
        generation: u64,
    },
}
