//! What can go wrong with a call, and what that proves.

use std::error::Error;
use std::io;

use reqwest::StatusCode;

use crate::agent_api::Refusal;
use crate::ids::ServerId;

/// A call to an agent that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent understood and said no; nothing was changed.
    #[error("the agent of server {server} refuses: {}", refusal.message)]
    Refused {
        /// Which server.
        server: ServerId,
        /// What it said.
        refusal: Refusal,
    },
    /// The machine answered that nobody listens there, or cut the connection.
    #[error("the agent of server {server} does not run")]
    Down {
        /// Which server.
        server: ServerId,
        /// How that was seen.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing was heard in time: the agent, the machine or the network between may be the cause,
    /// and the call may have had its effect.
    #[error("the agent of server {server} does not answer")]
    Silent {
        /// Which server.
        server: ServerId,
        /// How that was seen.
        #[source]
        source: reqwest::Error,
    },
    /// It could not prove to be that server, or did not accept our certificate.
    #[error("the agent of server {server} and we do not trust each other")]
    Untrusted {
        /// Which server.
        server: ServerId,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answered something outside of the contract.
    #[error("the agent of server {server} gave an unexpected answer ({status}): {detail}")]
    Unexpected {
        /// Which server.
        server: ServerId,
        /// HTTP status.
        status: StatusCode,
        /// The beginning of the answer, or what is wrong with it.
        detail: String,
    },
}

impl AgentError {
    /// Whether this proves that the agent is not running, as opposed to nothing being heard of it.
    /// It proves nothing about PostgreSQL, which may outlive its agent.
    pub fn is_hard_evidence(&self) -> bool {
        matches!(self, Self::Down { .. })
    }

    /// What the agent said, if it refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            Self::Down { .. }
            | Self::Silent { .. }
            | Self::Untrusted { .. }
            | Self::Unexpected { .. } => None,
        }
    }

    pub(super) fn from_transport(server: ServerId, source: reqwest::Error) -> Self {
        match classify(&source) {
            Failure::Down => Self::Down { server, source },
            Failure::Silent => Self::Silent { server, source },
            Failure::Untrusted => Self::Untrusted { server, source },
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Down,
    Silent,
    Untrusted,
}

/// The first cause that says something decides; what says nothing is silence.
fn classify(error: &(dyn Error + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if current.is::<rustls::Error>() {
            return Failure::Untrusted;
        }
        let io = current.downcast_ref::<io::Error>();
        if let Some(
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof,
        ) = io.map(io::Error::kind)
        {
            return Failure::Down;
        }
        // The source of an I/O error leaves out the error that it wraps.
        let wrapped = io.and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => current.source(),
        };
    }
    Failure::Silent
}
