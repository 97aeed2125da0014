//! Calls to agents, with a memory of their last answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::agent_api::InstanceStatus;
use shared::agent_api::client::{AgentAddress, AgentClient};
use shared::db::fleet::ServerRow;
use shared::ids::{RequestId, ServerId};
use shared::ports::Address;
use tokio::time::Instant;

/// How an agent answered a question for its status.
#[derive(Debug, Clone)]
pub enum Asked {
    /// With its status.
    Answered(Arc<InstanceStatus>),
    /// Nobody listens there: hard evidence.
    Refused,
    /// Nothing was heard, or nothing that can be believed.
    Silent,
}

impl Asked {
    /// The status, if there is one.
    pub fn status(&self) -> Option<&Arc<InstanceStatus>> {
        match self {
            Self::Answered(status) => Some(status),
            Self::Refused | Self::Silent => None,
        }
    }
}

/// Calls agents.
#[derive(Debug, Clone)]
pub struct Agents {
    client: AgentClient,
    seen: Arc<Mutex<HashMap<ServerId, (Instant, Asked)>>>,
}

impl Agents {
    /// Calls agents by `client`.
    pub fn new(client: AgentClient) -> Self {
        Self {
            client,
            seen: Arc::default(),
        }
    }

    /// The client itself, for calls that instruct.
    pub fn client(&self) -> &AgentClient {
        &self.client
    }

    /// Where the agent of `server` is reached; null for an address that is not one.
    pub fn address(server: ServerId, address: &Address) -> Option<AgentAddress> {
        Some(AgentAddress {
            server,
            address: address.to_string().parse().ok()?,
        })
    }

    /// Where the agent of a server is reached; null before that is known.
    pub(crate) fn of(row: &ServerRow) -> Option<AgentAddress> {
        let (host, port) = row.host.clone().zip(row.agent_port)?;
        Self::address(row.id, &Address { host, port })
    }

    /// Asks the agent now.
    pub async fn ask(&self, agent: AgentAddress, request_id: RequestId) -> Asked {
        let asked = match self.client.status(agent, request_id).await {
            Ok(status) => Asked::Answered(Arc::new(status)),
            Err(error) => {
                let source: &dyn std::error::Error = &error;
                tracing::debug!(
                    server.id = %agent.server, %request_id,
                    error = %shared::telemetry::chain(source), "an agent did not answer",
                );
                if error.is_hard_evidence() {
                    Asked::Refused
                } else {
                    Asked::Silent
                }
            }
        };
        self.remember(agent.server, asked.clone());
        asked
    }

    /// What the agent of `server` said no longer ago than `age`: for what changes slowly.
    pub fn asked_within(&self, server: ServerId, age: Duration) -> Option<Asked> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (when, asked) = seen.get(&server)?;
        (when.elapsed() < age).then(|| asked.clone())
    }

    /// Keeps an answer that came with another call.
    pub(crate) fn remember(&self, server: ServerId, asked: Asked) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(server, (Instant::now(), asked));
    }

    /// Forgets a server that is gone.
    pub(crate) fn forget(&self, server: ServerId) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&server);
    }
}
