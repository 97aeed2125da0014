//! The outside world, in our words: small traits that real adapters and fakes implement alike.

mod endpoint;
mod provider;

pub use endpoint::{Address, Endpoint, EndpointError, Place, Route};
pub use provider::{Credentials, Machine, MachineState, Provider, ProviderError, ServerOrder};
