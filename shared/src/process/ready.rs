//! Waiting until a child serves.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::{Launched, PostmasterFile, PostmasterState, ProcessError};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

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
