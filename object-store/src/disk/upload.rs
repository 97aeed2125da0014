//! An object on its way in: a file that nobody sees until it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::attributes::Attributes;
use super::{Disk, DiskError, Found};
use crate::names;

/// Most attempts to place an object whose directory vanishes again and again, because what else
/// was in it is being deleted.
const ATTEMPTS: usize = 64;

/// Whether an object may replace one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It takes the place of what was there.
    Overwrite,
    /// It is refused if something is there.
    IfAbsent,
}

/// What became of an upload.
#[derive(Debug)]
pub(crate) enum Placed {
    /// It is there, durably.
    Stored(Found),
    /// Something was there, and is as it was.
    AlreadyThere,
}

/// A file that becomes an object. Dropped before, it is gone.
#[derive(Debug)]
pub(crate) struct Upload {
    path: PathBuf,
    pub(super) file: File,
}

impl Upload {
    /// Begins one at `path`.
    pub(super) fn begin(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self { path, file })
    }

    /// Adds bytes at the end.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes it the object `key` of `bucket`: all of it or nothing, and durably.
    pub(crate) fn place(
        &self,
        disk: &Disk,
        bucket: &str,
        key: &str,
        mode: Mode,
        attributes: &Attributes,
    ) -> Result<Placed, DiskError> {
        let directory = disk.bucket(bucket)?;
        let path = directory.join(names::path_of(key));
        let parent = path.parent().unwrap_or(&directory);
        attributes.write_to(&self.file)?;
        self.file.sync_all()?;
        let mut attempts = 0;
        loop {
            match self.appear_at(&path, mode) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    // Who is told so relies on it, and its writer may have died before this.
                    disk.directories.sync(parent)?;
                    return Ok(Placed::AlreadyThere);
                }
                Err(error) if error.kind() == ErrorKind::NotFound && attempts < ATTEMPTS => {
                    attempts += 1;
                    disk.directories.make(parent)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        disk.directories.sync(parent)?;
        Ok(Placed::Stored(Found::of(
            &self.file.metadata()?,
            attributes.md5.clone(),
        )?))
    }

    fn appear_at(&self, path: &Path, mode: Mode) -> io::Result<()> {
        match mode {
            // A link is made by exactly one, and never over something.
            Mode::IfAbsent => fs::hard_link(&self.path, path),
            Mode::Overwrite => fs::rename(&self.path, path),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Gone if it was renamed. What cannot be removed now is removed at the next start.
        drop(fs::remove_file(&self.path));
    }
}
