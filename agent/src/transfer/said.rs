//! What a program of PostgreSQL complains about, and whether that would change.

use std::fmt;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::last_lines::LastLines;

/// Longest part of a line that is kept, in bytes: what customers have defined can say anything.
const LINE_BYTES_MAX: usize = 1000;

/// How `pg_restore` begins when PostgreSQL refused a command.
const REFUSED: &str = "error: could not execute query: ";

/// What stands in a refusal that is none: the session ended, or the disk was full.
const PASSING: [&str; 7] = [
    "server closed the connection",
    "terminating connection",
    "the database system is",
    "SSL ",
    "no connection to the server",
    "could not receive data",
    "No space left",
];

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The first line that tells of an error: what follows it quotes commands and data.
    error: Option<String>,
    last: LastLines,
}

impl Said {
    /// Everything that is said, to its end.
    pub(super) async fn read(from: impl AsyncRead + Unpin) -> anyhow::Result<Self> {
        let (mut from, mut said) = (BufReader::new(from), Self::default());
        let mut line = Vec::new();
        loop {
            let piece = from.fill_buf().await.context("read what is said")?;
            if piece.is_empty() {
                said.add(&String::from_utf8_lossy(&line));
                return Ok(said);
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let part = &piece[..end.unwrap_or(piece.len())];
            let kept = part.len().min(LINE_BYTES_MAX.saturating_sub(line.len()));
            line.extend_from_slice(&part[..kept]);
            let used = end.map_or(piece.len(), |end| end + 1);
            from.consume(used);
            if end.is_some() {
                said.add(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    }

    fn add(&mut self, line: &str) {
        if self.error.is_none() && line.contains("error: ") {
            self.error = Some(line.trim().to_owned());
        }
        self.last.add(line);
    }

    /// Whether PostgreSQL refused what it will refuse again.
    pub(super) fn is_no(&self) -> bool {
        let error = self.error.as_deref().unwrap_or_default();
        error.contains(REFUSED) && !PASSING.iter().any(|text| error.contains(text))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => f.write_str(error),
            None => self.last.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_error_is_kept_and_not_what_follows_it() {
        let text = "pg_restore: while PROCESSING TOC:\n\
            pg_restore: error: could not execute query: ERROR:  division by zero\n\
            DETAIL: secret\n1\n2\n3\n4\n5\n6";
        let said = Said::read(text.as_bytes()).await.unwrap();
        let error = "pg_restore: error: could not execute query: ERROR:  division by zero";
        assert_eq!(said.to_string(), error);
        assert!(said.is_no());
    }

    #[tokio::test]
    async fn an_end_of_the_session_may_pass() {
        let text = "pg_restore: error: could not execute query: \
            FATAL:  terminating connection due to administrator command";
        assert!(!Said::read(text.as_bytes()).await.unwrap().is_no());
        let said = Said::read(b"pg_dump: out of luck".as_slice()).await;
        let said = said.unwrap();
        assert!(!said.is_no());
        assert_eq!(said.to_string(), "pg_dump: out of luck");
        assert_eq!(Said::default().to_string(), "it said nothing");
    }

    #[tokio::test]
    async fn an_endless_line_is_cut() {
        let text = format!("x: error: {}", "y".repeat(100_000));
        let said = Said::read(text.as_bytes()).await.unwrap();
        assert_eq!(said.to_string().len(), LINE_BYTES_MAX);
    }
}
