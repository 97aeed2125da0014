//! Room on the disk that takes a database: it has neighbours, who stop when it is full.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::task::spawn_blocking;

use super::work::Hopeless;

/// Bytes of the disk that a transfer leaves free, at least.
const ROOM_LEFT: u64 = 256 * 1024 * 1024;

/// The disk of a directory.
#[derive(Debug)]
pub(super) struct Room(PathBuf);

impl Room {
    pub(super) fn of(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Whether `bytes` more can be written.
    ///
    /// # Errors
    /// [`Hopeless`] if less than [`ROOM_LEFT`] would stay free; others if the disk does not tell.
    pub(super) async fn has(&self, bytes: u64) -> anyhow::Result<()> {
        let directory = self.0.clone();
        let disk = spawn_blocking(move || rustix::fs::statvfs(&directory)).await?;
        let disk = disk.context("ask for the room on the disk")?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if bytes.saturating_add(ROOM_LEFT) <= free {
            return Ok(());
        }
        let mib = |bytes: u64| bytes >> 20;
        let why = format!(
            "the database needs {} MiB more and {} MiB are to stay free, but the disk has {} MiB",
            mib(bytes),
            mib(ROOM_LEFT),
            mib(free)
        );
        Err(Hopeless(why).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_not_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let room = Room::of(directory.path());
        room.has(0).await.unwrap();
        let error = room.has(1 << 60).await.unwrap_err();
        assert!(error.is::<Hopeless>(), "{error:#}");
        assert!(error.to_string().contains("are to stay free"), "{error:#}");
    }
}
