//! One `up` for a directory at a time.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use shared::process::RunningProcess;

use super::Directory;
use crate::failure::{Failure, FailureKind};

/// Held as long as this lives; the kernel gives it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

fn path(directory: &Directory) -> PathBuf {
    directory.join("lock")
}

impl Lock {
    /// Takes the lock, and leaves our process id in it.
    ///
    /// # Errors
    /// [`FailureKind::Conflict`] if another `up` holds it.
    pub(super) fn take(directory: &Directory) -> Result<Self, Failure> {
        let failed =
            |doing: &str| Failure::during(format!("{doing} {}", path(directory).display()));
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path(directory))
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(directory, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let pid = std::process::id().to_string();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(failed("write"))?;
        Ok(Self { _file: file })
    }
}

fn taken(directory: &Directory, file: &mut File) -> Failure {
    let holder = read_pid(file).map_or_else(String::new, |pid| format!(" (process {pid})"));
    let shown = directory.shown().display();
    Failure::new(
        FailureKind::Conflict,
        format!("another ringmaster up{holder} already runs in {shown}"),
    )
    .advise("see it with: ringmaster status; stop it with: ringmaster down")
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The `up` that runs in `directory`; `None` if there is none.
pub(super) fn holder(directory: &Directory) -> Option<RunningProcess> {
    let mut file = File::open(path(directory)).ok()?;
    let pid = read_pid(&mut file)?;
    let process = RunningProcess::open(pid).ok()?;
    // Looked at while the process is held, so that its number cannot be another one's.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(process),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use shared::process::Account;

    use super::*;

    #[tokio::test]
    async fn two_ups_of_one_directory_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(".ringmaster");
        let directory = Directory::open_or_create(&path, &Account::current()).unwrap();
        assert!(holder(&directory).is_none());
        let lock = Lock::take(&directory).unwrap();
        assert_eq!(holder(&directory).unwrap().pid(), std::process::id());
        let refused = Lock::take(&directory).unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Conflict);
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(lock);
        assert!(holder(&directory).is_none());
        Lock::take(&directory).unwrap();
    }
}
