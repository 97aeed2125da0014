//! What of a backup is in place: so that an agent that was killed goes on, and does not begin anew.
//!
//! Files are synced once, at the end. What is written here therefore holds for one boot of the
//! machine only: after another one everything is fetched again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use shared::ids::BackupId;

/// First line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heading {
    /// Boot of the machine that it holds for.
    pub(super) boot_id: String,
    /// The backup.
    pub(super) backup: BackupId,
    /// SHA-256 of its manifest.
    pub(super) manifest: String,
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: Mutex<File>,
}

impl Journal {
    /// Opens the journal at `path`: gives the bytes of each piece that is in place, by number. None
    /// are if it is about something else; it is begun anew then. Blocks.
    pub(super) fn open(path: &Path, heading: &Heading) -> io::Result<(Self, BTreeMap<u32, u64>)> {
        let known = match fs::read_to_string(path) {
            Ok(text) => read(&text, heading),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (text, done) = known.unwrap_or_else(|| {
            let heading = serde_json::to_string(heading).expect("a heading is plain data");
            (format!("{heading}\n"), BTreeMap::new())
        });
        // Written anew, because the last line may have been cut off.
        let new = path.with_added_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, path)?;
        let file = fs::OpenOptions::new().append(true).open(path)?;
        let file = Mutex::new(file);
        Ok((Self { file }, done))
    }

    /// Notes that a piece of so many bytes is in place. Blocks.
    pub(super) fn note(&self, number: u32, bytes: u64) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{number} {bytes}\n").as_bytes())
    }
}

/// The text up to the last whole line, and the pieces in it; none if it is about something else.
fn read(text: &str, heading: &Heading) -> Option<(String, BTreeMap<u32, u64>)> {
    let whole = text.get(..=text.rfind('\n')?)?;
    let mut lines = whole.lines();
    let found: Heading = serde_json::from_str(lines.next()?).ok()?;
    if found != *heading {
        return None;
    }
    let pieces: Option<BTreeMap<u32, u64>> = lines
        .map(|line| {
            let (number, bytes) = line.split_once(' ')?;
            Some((number.parse().ok()?, bytes.parse().ok()?))
        })
        .collect();
    Some((whole.to_owned(), pieces?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(boot_id: &str) -> Heading {
        Heading {
            boot_id: boot_id.to_owned(),
            backup: BackupId::from_uuid(uuid::Uuid::from_u128(1)),
            manifest: "abc".to_owned(),
        }
    }

    #[test]
    fn what_is_in_place_is_known_to_the_next_agent_of_this_boot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (journal, done) = Journal::open(&path, &heading("one")).unwrap();
        assert!(done.is_empty());
        journal.note(3, 512).unwrap();
        journal.note(1, 1024).unwrap();
        // Killed in the middle of a line.
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}2 10")).unwrap();
        let (journal, done) = Journal::open(&path, &heading("one")).unwrap();
        assert_eq!(done, BTreeMap::from([(1, 1024), (3, 512)]));
        journal.note(2, 2048).unwrap();
        let (_, done) = Journal::open(&path, &heading("one")).unwrap();
        assert_eq!(done, BTreeMap::from([(1, 1024), (2, 2048), (3, 512)]));
        let (_, done) = Journal::open(&path, &heading("two")).unwrap();
        assert!(done.is_empty(), "not synced, so lost with the machine");
    }
}
