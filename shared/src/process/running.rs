//! One running process, safe against recycled process ids.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use tokio::net::unix::pipe::Receiver;

use super::ProcessError;

pub use rustix::process::Signal;

/// A process, held by a file descriptor of the kernel's: signals and waits mean this very process,
/// also after it has ended and its number was given to another one.
#[derive(Debug)]
pub struct RunningProcess {
    pid: u32,
    started_ticks: u64,
    descriptor: OwnedFd,
}

impl RunningProcess {
    /// Takes hold of the process that has this id now. Check afterwards that it is the one meant.
    ///
    /// # Errors
    /// [`ProcessError::File`] if there is none.
    pub fn open(pid: u32) -> Result<Self, ProcessError> {
        let failed = |source: io::Error| ProcessError::File {
            doing: "open process",
            path: format!("/proc/{pid}").into(),
            source,
        };
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let descriptor =
            pidfd_open(raw, PidfdFlags::NONBLOCK).map_err(|error| failed(error.into()))?;
        let started_ticks = started_ticks(pid).unwrap_or_default();
        Ok(Self {
            pid,
            started_ticks,
            descriptor,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Clock ticks from the machine's boot to its start: with the process id, its identity within
    /// one boot.
    pub fn started_ticks(&self) -> u64 {
        self.started_ticks
    }

    /// Sends it a signal; no-op if it has ended.
    ///
    /// # Errors
    /// [`ProcessError::File`] if we may not.
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(ProcessError::File {
                doing: "send a signal to process",
                path: format!("/proc/{}", self.pid).into(),
                source: error.into(),
            }),
        }
    }

    /// Waits until it has ended. Safe to cancel.
    ///
    /// # Errors
    /// [`ProcessError::File`] if the system does not tell.
    pub async fn ended(&self) -> Result<(), ProcessError> {
        let failed = ProcessError::file("wait for", format!("/proc/{}", self.pid));
        let watch = async {
            // The descriptor becomes readable when the process ends, and stays so. This is the way
            // to await that without unsafe code; nothing is ever read from it.
            let watched = Receiver::from_owned_fd_unchecked(self.descriptor.try_clone()?)?;
            watched.readable().await
        };
        watch.await.map_err(failed)
    }
}

/// Field 22 of `/proc/<pid>/stat`. The second field is the program's name in parentheses and may
/// hold anything, so counting starts after the last parenthesis.
fn started_ticks(pid: u32) -> Option<u64> {
    parse_started_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_started_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_read_behind_any_name() {
        let fields: Vec<String> = (4..30).map(|field: u32| field.to_string()).collect();
        let stat = format!("77 (odd) name) S {}", fields.join(" "));
        assert_eq!(parse_started_ticks(&stat), Some(22));
        assert_eq!(parse_started_ticks("77 (short) S 1 2"), None);
        assert_eq!(parse_started_ticks(""), None);
    }
}
