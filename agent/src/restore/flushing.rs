//! What was unpacked, on its way to disk while more is unpacked.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use tokio::task::spawn_blocking;

/// Bytes after which what was written so far is sent to disk. The kernel would wait for half a minute,
/// and the end of the restore would then wait for all of it.
const EVERY_BYTES: u64 = 128 * 1024 * 1024;

/// Bytes of the disk that a restore leaves free, at least.
const ROOM_LEFT: u64 = 256 * 1024 * 1024;

/// The file system that is written to, held open from before the first byte: only so does it tell
/// about every write that failed.
#[derive(Debug)]
pub(super) struct Flushing {
    directory: File,
    bytes: AtomicU64,
    /// Why something did not get to disk; an error is told only once.
    failed: Mutex<Option<Errno>>,
}

impl Flushing {
    /// The file system of `directory`.
    pub(super) fn of(directory: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            directory: File::open(directory)?,
            bytes: AtomicU64::new(0),
            failed: Mutex::new(None),
        }))
    }

    /// Why `bytes` more must not be written: less than [`ROOM_LEFT`] would stay free on a disk that may
    /// be that of others, too.
    pub(super) fn lacks(&self, bytes: u64) -> io::Result<Option<String>> {
        let disk = rustix::fs::fstatvfs(&self.directory)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let mib = |bytes: u64| bytes >> 20;
        Ok((bytes.saturating_add(ROOM_LEFT) > free).then(|| {
            format!(
                "the backup needs {} MiB more and {} MiB are to stay free, but the disk has {} MiB",
                mib(bytes),
                mib(ROOM_LEFT),
                mib(free)
            )
        }))
    }

    /// Notes that more was written; from time to time sends it to disk, without waiting for that.
    pub(super) fn wrote(self: &Arc<Self>, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / EVERY_BYTES == (before + bytes) / EVERY_BYTES {
            return;
        }
        let this = Arc::clone(self);
        spawn_blocking(move || {
            // One that is under way takes what was written until it began; the next takes the rest.
            if let Ok(mut failed) = this.failed.try_lock() {
                this.sync(&mut failed);
            }
        });
    }

    /// Waits until everything is on disk. Blocks.
    ///
    /// # Errors
    /// Something that was written since the beginning did not get there.
    pub(super) fn finish(&self) -> io::Result<()> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        self.sync(&mut failed);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn sync(&self, failed: &mut Option<Errno>) {
        if let Err(error) = rustix::fs::syncfs(&self.directory) {
            failed.get_or_insert(error);
        }
    }
}
