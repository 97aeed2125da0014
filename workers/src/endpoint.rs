//! Adapters behind [`shared::ports::Endpoint`].

mod direct;
mod gateway;

pub use direct::DirectEndpoint;
pub use gateway::GatewayEndpoint;
