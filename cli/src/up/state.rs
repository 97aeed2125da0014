//! What is remembered from one run to the next: ports.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use shared::process::{DistinctPorts, ProcessError};

use super::Directory;
use super::directory::write_private;
use crate::failure::Failure;

/// Ports of 127.0.0.1 that the processes listen on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ports {
    /// The control database; 0 before it was chosen, as with all.
    pub postgres: u16,
    /// The queue.
    pub redis: u16,
    /// The object store.
    pub object_store: u16,
    /// The API.
    pub api: u16,
    /// Metrics and health of the worker.
    pub worker: u16,
    /// Metrics and health of the gateway.
    pub gateway: u16,
    /// Databases, by sessions.
    pub sessions: u16,
    /// Databases, by connections that are lent for a transaction at a time.
    pub pooled: u16,
}

const FILE: &str = "ports.json";

impl Ports {
    /// The ports of the last run; zeros if there was none.
    pub(super) fn remembered(directory: &Directory) -> Self {
        fs::read_to_string(directory.join(FILE))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Keeps each port that is still free and chooses the others anew, all different.
    pub(super) fn settled(self) -> Result<Self, ProcessError> {
        let mut ports = DistinctPorts::default();
        let mut settle = |port: u16| ports.settle(Some(port).filter(|port| *port != 0));
        Ok(Self {
            postgres: settle(self.postgres)?,
            redis: settle(self.redis)?,
            object_store: settle(self.object_store)?,
            api: settle(self.api)?,
            worker: settle(self.worker)?,
            gateway: settle(self.gateway)?,
            sessions: settle(self.sessions)?,
            pooled: settle(self.pooled)?,
        })
    }

    /// Remembers them for the next run.
    pub(super) fn remember(self, directory: &Directory) -> Result<(), Failure> {
        let text = serde_json::to_string(&self).map_err(Failure::during("write the ports"))?;
        write_private(&directory.join(FILE), &text)
    }
}

/// An address on this machine only.
pub(super) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use shared::process::Account;

    use super::*;

    #[test]
    fn ports_are_kept_unless_somebody_took_them() {
        let chosen = Ports::default().settled().unwrap();
        let thief = TcpListener::bind(loopback(chosen.redis)).unwrap();
        let again = chosen.settled().unwrap();
        assert_ne!(again.redis, chosen.redis);
        drop(thief);
        assert_eq!((again.postgres, again.api), (chosen.postgres, chosen.api));
    }

    #[test]
    fn ports_are_remembered() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(".ringmaster");
        let directory = Directory::open_or_create(&path, &Account::current()).unwrap();
        assert_eq!(Ports::remembered(&directory), Ports::default());
        let chosen = Ports::default().settled().unwrap();
        chosen.remember(&directory).unwrap();
        assert_eq!(Ports::remembered(&directory), chosen);
    }
}
