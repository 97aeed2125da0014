//! `postmaster.pid`: what a running PostgreSQL says about itself in its data directory.

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::ProcessError;

/// Content of `postmaster.pid`. It may be left over from a crash: check that the process lives
/// and works in the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostmasterFile {
    /// Process id of the postmaster.
    pub pid: u32,
    /// Moment it started, to the second.
    pub started_at: DateTime<Utc>,
    /// TCP port.
    pub port: u16,
    /// How far it is.
    pub state: PostmasterState,
}

/// How far a postmaster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostmasterState {
    /// Starts or recovers.
    Starting,
    /// Accepts connections.
    Ready,
    /// Shuts down.
    Stopping,
}

impl PostmasterFile {
    /// Reads it; `None` if it is not there or not (yet) complete.
    pub fn read(data_directory: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(data_directory.join("postmaster.pid")).ok()?)
    }

    /// Removes what a killed PostgreSQL left, so that the next one does not take a zombie or a
    /// process with a recycled id for it. Only after a look has found no process of the directory.
    ///
    /// # Errors
    /// [`ProcessError::File`] if it is there and cannot be removed.
    pub fn remove(data_directory: &Path) -> Result<(), ProcessError> {
        let path = data_directory.join("postmaster.pid");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ProcessError::file("remove", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let state = match *lines.get(7).unwrap_or(&"starting") {
            "ready" | "standby" => PostmasterState::Ready,
            "stopping" => PostmasterState::Stopping,
            _ => PostmasterState::Starting,
        };
        Some(Self {
            pid: lines.first()?.parse().ok()?,
            started_at: DateTime::from_timestamp(lines.get(2)?.parse().ok()?, 0)?,
            port: lines.get(3)?.parse().ok()?,
            state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postmaster_file_is_read_as_postgres_writes_it() {
        let text = "4242\n/data\n1700000000\n5433\n/run\n127.0.0.1\n  1234  5678\nready   \n";
        let file = PostmasterFile::parse(text).unwrap();
        assert_eq!((file.pid, file.port), (4242, 5433));
        assert_eq!(file.state, PostmasterState::Ready);
        assert_eq!(file.started_at.timestamp(), 1_700_000_000);
    }

    #[test]
    fn an_incomplete_postmaster_file_is_not_believed() {
        for text in ["", "4242\n", "4242\n/data\n17000", "x\n/data\n1\n1\n"] {
            assert_eq!(PostmasterFile::parse(text), None, "{text:?}");
        }
        let early = PostmasterFile::parse("4242\n/data\n1700000000\n5433\n").unwrap();
        assert_eq!(early.state, PostmasterState::Starting);
    }
}
