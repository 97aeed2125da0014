//! What the status shows of a backup.

use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::agent_api::backup::{BackupOrder, BackupPhase, BackupStatus};
use shared::ids::BackupId;

use super::places::Places;

/// How far a backup is, and the places that it may write to.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) places: Places,
    status: Mutex<BackupStatus>,
}

impl Progress {
    pub(super) fn new(order: &BackupOrder) -> Self {
        let places = Places::default();
        places.bring(order);
        Self {
            places,
            status: Mutex::new(BackupStatus {
                backup: order.backup,
                phase: BackupPhase::Running,
                bytes_done: 0,
                bytes_total: 0,
                object_bytes: 0,
                pieces_begun: 0,
                wants_pieces: Vec::new(),
                wants_manifest: false,
            }),
        }
    }

    pub(super) fn backup(&self) -> BackupId {
        self.lock().backup
    }

    pub(super) fn status(&self) -> BackupStatus {
        let mut status = self.lock().clone();
        if status.phase == BackupPhase::Running {
            (status.wants_pieces, status.wants_manifest) =
                self.places.wanted_after(status.pieces_begun);
        }
        status
    }

    /// Bytes of all files are known.
    pub(super) fn listed(&self, bytes: u64) {
        self.lock().bytes_total = bytes;
    }

    /// Gives the number of the next piece.
    pub(super) fn begin_piece(&self) -> u32 {
        let mut status = self.lock();
        status.pieces_begun += 1;
        status.pieces_begun
    }

    /// An object with so many bytes of files is in the archive.
    pub(super) fn stored(&self, file_bytes: u64, object_bytes: u64) {
        let mut status = self.lock();
        status.bytes_done += file_bytes;
        status.object_bytes += object_bytes;
    }

    /// It has ended.
    pub(super) fn end(&self, phase: BackupPhase) {
        self.lock().phase = phase;
    }

    fn lock(&self) -> MutexGuard<'_, BackupStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
