//! Waiting until a child serves.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::{Launched, PostmasterFile, PostmasterState, ProcessError};

/// Ports to choose from: below the range the system takes ports of outgoing connections from
/// (32768 by default), so that a server can come back on its port after a restart.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// A TCP port of 127.0.0.1 that nobody listens on at this moment, chosen at random.
///
/// # Errors
/// [`ProcessError::NoFreePort`] if a thousand attempts find none.
pub fn free_port() -> Result<u16, ProcessError> {
    let count = u64::from(PORTS.end - PORTS.start);
    let mut attempts = (0..1000).filter_map(|_| {
        let random = RandomState::new().build_hasher().finish() % count;
        u16::try_from(random)
            .ok()
            .map(|offset| PORTS.start + offset)
    });
    attempts
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(ProcessError::NoFreePort)
}

/// Waits until `child`, a postmaster, accepts connections, as `pg_ctl --wait` does.
///
/// # Errors
/// [`ProcessError::Failed`] if it ends, [`ProcessError::NotReady`] if it takes longer than
/// `patience`; both with the end of its log.
pub async fn until_postgres_ready(
    child: &mut Launched,
    data_directory: &Path,
    patience: Duration,
) -> Result<(), ProcessError> {
    let deadline = Instant::now() + patience;
    loop {
        let ready = PostmasterFile::read(data_directory)
            .is_some_and(|file| file.pid == child.pid() && file.state == PostmasterState::Ready);
        if ready {
            return Ok(());
        }
        child.early_end()?;
        if Instant::now() >= deadline {
            return Err(child.not_ready(patience));
        }
        sleep(LOOK).await;
    }
}

/// Waits until `child` accepts TCP connections on this port of 127.0.0.1.
///
/// # Errors
/// As [`until_postgres_ready`].
pub async fn until_tcp_answers(
    child: &mut Launched,
    port: u16,
    patience: Duration,
) -> Result<(), ProcessError> {
    let deadline = Instant::now() + patience;
    loop {
        let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        if let Ok(Ok(_)) = timeout(Duration::from_secs(1), connect).await {
            return child.early_end();
        }
        child.early_end()?;
        if Instant::now() >= deadline {
            return Err(child.not_ready(patience));
        }
        sleep(LOOK).await;
    }
}

/// The last lines of a log, for error messages; empty if it cannot be read.
pub fn tail_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(8)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free_port().unwrap();
        assert!(PORTS.contains(&port));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        assert_eq!(tail_of(&log), "");
        let lines: Vec<String> = (0..2000).map(|line: u32| format!("line {line}")).collect();
        fs::write(&log, lines.join("\n")).unwrap();
        assert!(
            tail_of(&log).starts_with("line 1992 |"),
            "{}",
            tail_of(&log)
        );
        assert!(tail_of(&log).ends_with("line 1999"));
    }
}
