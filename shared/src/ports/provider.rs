//! Who runs the machines: this computer, or a cloud.

use futures::future::BoxFuture;

use crate::ids::{RequestId, ServerId};
use crate::secret::Secret;

/// Runs machines with an agent on each.
///
/// Every method is idempotent and finds "its" machine by an outside name derived from the
/// [`ServerId`], so that a crash between effect and record is repaired by asking again.
pub trait Provider: Send + Sync {
    /// Asks for the machine of `order` and for a running agent on it. A machine that exists is
    /// kept; a dead agent is started again; an expired certificate is replaced, for an agent that has
    /// one cannot be reached any more to be given another.
    fn ensure<'a>(
        &'a self,
        order: &'a ServerOrder,
    ) -> BoxFuture<'a, Result<Machine, ProviderError>>;

    /// Looks at the machine. [`MachineState::Absent`] is a confirmed absence.
    fn describe(&self, server: ServerId) -> BoxFuture<'_, Result<Machine, ProviderError>>;

    /// Ends the machine with everything on it, and answers what is left: the caller asks again
    /// until it is [`MachineState::Absent`].
    fn destroy(&self, server: ServerId) -> BoxFuture<'_, Result<Machine, ProviderError>>;

    /// Every machine of ours that the provider still has.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ServerId>, ProviderError>>;
}

/// What a new machine needs.
#[derive(Debug, Clone)]
pub struct ServerOrder {
    /// The server it is for.
    pub server: ServerId,
    /// Request it belongs to, for the logs.
    pub request_id: RequestId,
    /// What the agent proves itself with from now on, if it has nothing yet or must be started.
    pub credentials: Credentials,
}

/// What an agent proves itself with, and by what it knows our workers.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Certificate of the agent, PEM.
    pub certificate: String,
    /// Private key of the agent, PEM.
    pub key: Secret,
    /// Certificate of our authority, PEM.
    pub authority: String,
}

/// A machine, as its provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Whether it runs.
    pub state: MachineState,
    /// The provider's own name for it; null while it has none.
    pub instance_id: Option<String>,
    /// Address of agent and PostgreSQL; null while it has none.
    pub host: Option<String>,
    /// TCP port of the agent.
    pub agent_port: Option<u16>,
    /// TCP port for PostgreSQL.
    pub postgres_port: Option<u16>,
}

impl Machine {
    /// A machine that does not exist.
    pub const fn absent() -> Self {
        Self {
            state: MachineState::Absent,
            instance_id: None,
            host: None,
            agent_port: None,
            postgres_port: None,
        }
    }
}

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineState {
    /// It does not exist: confirmed, not assumed.
    Absent,
    /// On its way up.
    Pending,
    /// Up, as far as the provider can tell.
    Running,
    /// It exists and does not run.
    Stopped,
}

/// A provider that could not do or say something.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It may work later.
    #[error("the provider could not {operation} server {server}")]
    Transient {
        /// What was asked for.
        operation: &'static str,
        /// The server it was asked for.
        server: ServerId,
        /// What the provider said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It will not work until a person changes something.
    #[error("the provider refuses to {operation} server {server}: {reason}")]
    Refused {
        /// What was asked for.
        operation: &'static str,
        /// The server it was asked for.
        server: ServerId,
        /// Why, and what to do.
        reason: String,
    },
    /// The list of machines could not be had.
    #[error("the provider could not list its machines")]
    List(#[source] Box<dyn std::error::Error + Send + Sync>),
}
