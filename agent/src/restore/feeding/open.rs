//! The open end of a follower's last leg: what is not in the archive there is not there yet.
//!
//! PostgreSQL is told so, tries to stream, and comes back: each time the archive is looked at anew.
//! A worker that says nothing must not keep it from streaming, so that it is told "not yet" after a
//! while, too; a standby takes no harm from that. Of a segment that the archive has the beginning of
//! PostgreSQL gets that, with zeros behind it, and goes on with the same segment later: from a longer
//! one, or by streaming. But never instead of one in which it has more already.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use shared::archive::way::Segment;
use shared::units::Lsn;
use tokio::task::spawn_blocking;

use super::Feed;

/// How long PostgreSQL waits for what is not known to be there or not.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How much of two files is compared at once, in bytes.
const COMPARED: usize = 256 * 1024;

/// What became of a segment.
#[derive(Debug)]
pub(super) enum Made {
    /// All of it is there.
    Whole,
    /// It is open: there is nothing of it, or its beginning.
    Open(Option<Part>),
}

impl Made {
    /// What the archive has up to `at` of a segment that is written to `path`.
    pub(super) fn up_to(at: Lsn, segment: Segment, path: PathBuf) -> Self {
        let part = Part {
            path,
            bytes: at.bytes() - segment.start.bytes(),
            end: at,
        };
        if part.bytes == 0 {
            part.discard();
            return Self::Open(None);
        }
        Self::Open(Some(part))
    }
}

/// What is found of a segment that PostgreSQL asks for.
#[derive(Debug)]
pub(super) enum Found {
    /// All of it.
    Whole,
    /// Nothing, or its beginning: the archive has no more at the moment.
    Open(Option<Part>),
    /// It is not known yet.
    UnderWay,
}

/// The beginning of a segment, in a file of the size of a whole one.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    /// How many bytes of it are there.
    bytes: u64,
    /// Where that ends.
    pub(super) end: Lsn,
}

impl Part {
    /// Moves it to `to`, unless PostgreSQL has as much in its `own`.
    pub(super) async fn give(self, own: &Path, to: &Path) -> anyhow::Result<bool> {
        let (own, to) = (own.to_owned(), to.to_owned());
        let give = move || -> io::Result<bool> {
            if begins_alike(&own, &self.path, self.bytes)? {
                self.discard();
                return Ok(false);
            }
            fs::rename(&self.path, to)?;
            Ok(true)
        };
        spawn_blocking(give)
            .await?
            .context("move the beginning of a segment to PostgreSQL")
    }

    pub(super) fn discard(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "failed to remove a part of a segment");
        }
    }
}

impl Feed {
    /// What is known of an open leg from `segment` on is from before.
    pub(super) fn look_anew(&self, segment: Segment) {
        let is_open = self.open_from.is_some();
        if let Some(leg) = self.source.path.get(segment.leg).filter(|_| is_open) {
            let board = &self.agent.restore;
            board.lock().wal.forget_from(leg, segment.start);
            board.note_trouble(None);
        }
    }
}

/// Whether the first `bytes` of two files are the same; not if `own` is not there, or is shorter.
fn begins_alike(own: &Path, other: &Path, bytes: u64) -> io::Result<bool> {
    let own = match File::open(own) {
        Ok(own) => own,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let (mut own, mut other) = (own.take(bytes), File::open(other)?.take(bytes));
    let (mut ours, mut theirs) = (vec![0; COMPARED], vec![0; COMPARED]);
    loop {
        let read = fill(&mut own, &mut ours)?;
        if read != fill(&mut other, &mut theirs)? || ours.get(..read) != theirs.get(..read) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Reads until `buffer` is full, or there is no more.
fn fill(from: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_of_which_there_is_more_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let part = file("part", b"abcd\0\0");
        for (own, is_kept) in [
            (&b"abcdef"[..], true),
            (b"abcd\0\0", true),
            (b"abc\0\0\0", false),
            (b"abxdef", false),
            (b"abc", false),
            (b"", false),
        ] {
            let own = file("own", own);
            assert_eq!(begins_alike(&own, &part, 4).unwrap(), is_kept);
        }
        let absent = directory.path().join("absent");
        assert!(!begins_alike(&absent, &part, 4).unwrap());
    }
}
