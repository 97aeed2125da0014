//! Where everything of a server lies below its directory.

use std::path::{Path, PathBuf};

/// The directory of sockets as PostgreSQL sees it from its data directory. Relative, because a
/// path of a socket may have no more than 107 bytes.
pub(crate) const SOCKETS_FROM_DATA: &str = "../socket";

/// The directory of a restore as PostgreSQL sees it from its data directory.
pub(crate) const RESTORE_FROM_DATA: &str = "../restore";

/// Paths below the directory of a server.
#[derive(Debug, Clone)]
pub(crate) struct Paths(PathBuf);

impl Paths {
    pub(crate) fn below(root: &Path) -> Self {
        Self(root.to_owned())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// The data directory of PostgreSQL.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Where PostgreSQL's socket for local administration is; only its user may enter.
    pub(crate) fn sockets(&self) -> PathBuf {
        self.0.join("socket")
    }

    /// PostgreSQL's configuration, rendered by us; only its user may enter.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.0.join("configuration")
    }

    /// PostgreSQL's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("postgres.log")
    }

    /// What a restore needs until it has ended: what is in place, and the way for WAL; only
    /// PostgreSQL's user may enter.
    pub(crate) fn restore(&self) -> PathBuf {
        self.0.join("restore")
    }

    /// What the agent remembers.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// Locked by the agent that manages this directory.
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("agent.lock")
    }

    /// Written by the disk probe.
    pub(crate) fn probe(&self) -> PathBuf {
        self.0.join("probe")
    }
}
