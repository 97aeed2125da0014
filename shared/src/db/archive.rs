//! What the control database knows of the archive: epochs with their watermarks, gaps, base backups,
//! and who is behind.
//!
//! The watermark of an epoch only moves by compare-and-set ([`advance`], [`record_gap`]), only
//! forward, and not at all once the epoch is sealed.

mod advance;
mod asked;
mod backup_followers;
mod backup_row;
mod backup_schedule;
mod backups;
mod behind;
mod captures;
mod epochs;
mod expiry;
mod leftovers;
mod lineage;
mod marks;
mod proof_requests;
mod proof_row;
mod proof_schedule;
mod proof_view;
mod proofs;
mod protection;
mod push;
mod restorable;
mod restores;

pub use advance::{Position, Progress, advance, record_gap};
pub use asked::{ask_for_pushes, ask_to_push};
pub use backup_followers::{
    FollowerToRead, NewestOfRun, follower_of_backup, followers_to_back_up, newest_of_run,
};
pub use backup_row::{BackupRow, RunningBackup, load_backup};
pub use backup_schedule::{
    Candidate, DueBackup, backup_candidates, due_backups, reason_for_backup,
};
pub use backups::{
    BackupProgress, NewBackup, begin_backup, fail_backup, fail_captures, finish_backup,
    is_gap_within, may_have_sentinel, note_backup_progress,
};
pub use behind::{Behind, Lagging, lagging, note_who_is_behind, settle_ended, whole_again};
pub use captures::{Backup, CaptureError, Captured, NewCapture, backups_of, request_capture};
pub use epochs::{Complete, Epoch, Retry, begin_epoch, current_epoch, seal_epoch};
pub use expiry::{
    ExpiryRow, KeptBackup, KeptWal, forget_backup, keep_wal_from, kept_backups, kept_wal,
    load_expiry, mark_expiring, note_archive_deleted, note_trimmed,
};
pub use leftovers::{past_retention, past_their_end, with_leftovers};
pub use lineage::{Lineage, lineage};
pub use marks::{begin_deletion, unmark};
pub use proof_requests::{
    NewRestoreCheck, RestoreCheckAsked, RestoreCheckError, request_restore_check,
};
pub use proof_row::{Original, ProofRow, RunningProof, TrialInstance, load_proof};
pub use proof_schedule::{Provable, ask_for_lost_proofs, proofs_under_way, provable};
pub use proof_view::{Proof, proofs_of};
pub use proofs::{
    Begun, CheckProgress, Ended, NewProof, Trial, Watched, ask_for_proof, begin_proof, end_proof,
    note_checked, note_look, note_restored,
};
pub use protection::{Gap, Protection, protection_of};
pub use push::{Leader, PushRow, load_push};
pub use restorable::{Restorable, restorable, restorable_of};
pub use restores::{
    NewRestore, Patience, RestoreProgress, hold_restore, note_restore_progress, release_restores,
};

use crate::units::Lsn;

/// A position as it is stored: PostgreSQL's own end of WAL is beyond any that was ever reached.
fn stored(lsn: Lsn) -> i64 {
    i64::try_from(lsn.bytes()).unwrap_or(i64::MAX)
}

/// A stored position.
fn lsn(stored: i64) -> Lsn {
    Lsn::from_bytes(stored.unsigned_abs())
}
