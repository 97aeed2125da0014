//! Files that `PgBouncer` reads: whole or not there, and nobody else's to read.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use shared::process::{Account, ProcessError};

/// Makes the file at `path` have this content, readable by `account` only; one that has it is left
/// alone. A crash leaves the old content or the new one.
///
/// # Errors
/// [`ProcessError::File`] if the file cannot be written.
pub(crate) fn write_private(
    account: &Account,
    path: &Path,
    content: &str,
) -> Result<(), ProcessError> {
    if fs::read_to_string(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let next = path.with_extension("next");
    // One of a crash before this; another user's could not be opened for writing.
    drop(fs::remove_file(&next));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)
        .map_err(ProcessError::file("write", &next))?;
    file.write_all(content.as_bytes())
        .map_err(ProcessError::file("write", &next))?;
    account.give_file(&file, &next)?;
    fs::rename(&next, path).map_err(ProcessError::file("replace", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn only_another_content_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.txt");
        fs::write(path.with_extension("next"), "of a crash").unwrap();
        // Tells whether the file is another one now.
        let write = |content: &str| {
            let inode = || fs::metadata(&path).ok().map(|found| found.ino());
            let before = inode();
            write_private(&Account::current(), &path, content).unwrap();
            inode() != before
        };
        assert!(write("a"));
        assert!(!write("a"));
        assert!(write("b"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "b");
    }
}
