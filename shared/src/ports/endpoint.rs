//! What makes the URL of a resource stable.

use std::fmt;

use futures::future::BoxFuture;

use crate::domain::Traffic;
use crate::ids::ResourceId;

/// Points the URL of a resource at a participant.
///
/// Words about a resource are numbered by generations, which the control database allocates before
/// a word is said. An endpoint that holds routes, as a proxy or an elastic address does, keeps the
/// number of the newest word about each, also of a withdrawal, and refuses every earlier one. An
/// endpoint that holds none has nothing that a late word could change: it answers each with the
/// address that the word names. In both cases an address is in force for customers only once it is
/// recorded, by compare-and-set on the generation, and a late answer is not recorded.
///
/// No promise to a customer rests on an endpoint alone: whether a former leader may still acknowledge
/// writes is the matter of a fence. An endpoint that cannot be reached goes on as it did.
pub trait Endpoint: Send + Sync {
    /// Points `route.resource` at `route.upstream` and does with its clients what `route.traffic` says;
    /// answers what customers use once that is in force. Who is connected to another upstream loses
    /// the connection, unless the route was paused before. Idempotent.
    ///
    /// An endpoint that stands nowhere between customers and servers lets everybody through, whatever
    /// `route.traffic` says.
    ///
    /// # Errors
    /// [`EndpointError`]; of an endpoint that holds routes also for a late word.
    fn point<'a>(&'a self, route: &'a Route) -> BoxFuture<'a, Result<Place, EndpointError>>;

    /// Takes the route of `resource` away, as word number `generation`; one that was never there
    /// is as good as withdrawn. Idempotent.
    ///
    /// # Errors
    /// As [`Endpoint::point`].
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
    /// Name of the database there.
    pub database: String,
    /// What happens to clients.
    pub traffic: Traffic,
}

/// Where customers reach a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where a connection is one to the database, with everything that PostgreSQL can.
    pub address: Address,
    /// Port of the same host where a connection to the database is lent for a transaction at a time;
    /// null where there is none.
    pub pooled_port: Option<u16>,
    /// Name of the database there.
    pub database: String,
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
    /// A newer word was heard.
    #[error("a newer word than generation {generation} about resource {resource} was heard")]
    OldGeneration {
        /// The resource.
        resource: ResourceId,
        /// The generation that was refused.
        generation: u64,
    },
    /// Another word of the same number was heard.
    #[error("another word of generation {generation} about resource {resource} was heard")]
    GenerationReused {
        /// The resource.
        resource: ResourceId,
        /// The generation that was refused.
        generation: u64,
    },
}
