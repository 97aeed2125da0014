//! Directories that are known to survive a power cut.
//!
//! A new directory is durable once the directory above it was synced. That is done once for each,
//! not for each object: what is durable is remembered for as long as it is there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The directories below one directory.
#[derive(Debug)]
pub(super) struct Directories {
    top: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Those below `top`, which is durable itself.
    pub(super) fn below(top: PathBuf) -> Self {
        Self {
            top,
            durable: Mutex::default(),
        }
    }

    /// Makes `directory` and what is missing above it, but not the first one below the top.
    /// They are not durable yet, and may be pruned again until there is something in them.
    pub(super) fn make(&self, directory: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for directory in self.between(directory) {
            match fs::create_dir(directory) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => break,
                Err(error) if error.kind() == ErrorKind::NotFound => missing.push(directory),
                Err(error) => return Err(error),
            }
        }
        for directory in missing.into_iter().rev() {
            match fs::create_dir(directory) {
                Ok(()) => {}
                // Made or pruned by somebody else: who wants to put something there will see.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes what is in `directory` durable, and the way to it. A directory that is gone held
    /// nothing any more.
    pub(super) fn sync(&self, directory: &Path) -> io::Result<()> {
        if !sync_if_there(directory)? {
            return Ok(());
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in self.between(directory) {
            if durable.contains(directory) {
                break;
            }
            // Nobody prunes while we hold the lock: what is there now stays until it is noted.
            if fs::symlink_metadata(directory).is_ok() {
                sync(directory.parent().unwrap_or(&self.top))?;
                durable.insert(directory.to_owned());
            }
        }
        Ok(())
    }

    /// Makes it durable that something was removed from `directory`.
    pub(super) fn sync_removal(directory: &Path) -> io::Result<()> {
        sync_if_there(directory).map(drop)
    }

    /// Makes the first directory below the top, durably; false if it was there.
    pub(super) fn make_first(&self, directory: &Path) -> io::Result<bool> {
        match fs::create_dir(directory) {
            Ok(()) => sync(&self.top).map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes `directory` and those above it as far as they are empty.
    pub(super) fn prune(&self, directory: &Path) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in self.between(directory) {
            // The usual end: there is something in it.
            if fs::remove_dir(directory).is_err() {
                break;
            }
            durable.remove(directory);
        }
    }

    /// `directory` and those above it, up to the second one below the top.
    fn between<'a>(&self, directory: &'a Path) -> impl Iterator<Item = &'a Path> {
        directory
            .ancestors()
            .take_while(|above| above.parent().is_some_and(|above| above != self.top))
    }
}

fn sync_if_there(directory: &Path) -> io::Result<bool> {
    match sync(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
