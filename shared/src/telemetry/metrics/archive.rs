//! Metrics of the archive.

use ::metrics::Unit;

use super::{Metric, closed, counts, gauges, times};

/// Age of the oldest WAL that is known to wait for the archive, in seconds; sampled by a sweep.
pub const BEHIND_SECONDS: &str = "ringmaster_archive_behind_seconds";
/// WAL that is known to wait for the archive, in bytes, all timelines together; sampled by a sweep.
pub const BEHIND_BYTES: &str = "ringmaster_archive_behind_bytes";
/// Timelines with WAL that is known to wait for the archive; sampled by a sweep.
pub const TIMELINES_BEHIND: &str = "ringmaster_archive_timelines_behind";
/// Whether the archive's store keeps two writers of one name apart: 1 if it does, 0 if it ignores
/// conditions or has not said yet.
pub const CONDITIONAL_WRITES: &str = "ringmaster_archive_conditional_writes";
/// Pushes of WAL. Label: `result`.
pub const PUSHES: &str = "ringmaster_wal_pushes_total";
/// Objects of WAL that agents were told to write. Labels: `kind`, `result`.
pub const OBJECTS: &str = "ringmaster_wal_objects_total";
/// Bytes of the objects of WAL that agents wrote. Label: `kind`.
pub const BYTES: &str = "ringmaster_wal_object_bytes_total";
/// Base backups. Label: `result`.
pub const BACKUPS: &str = "ringmaster_base_backups_total";
/// Bytes of the objects of base backups.
pub const BACKUP_BYTES: &str = "ringmaster_base_backup_object_bytes_total";
/// Base backups that are due and not finished; sampled by a sweep.
pub const BACKUPS_DUE: &str = "ringmaster_base_backups_due";
/// Objects that were deleted because nothing that is kept needs them. Label: `kind`.
pub const EXPIRED: &str = "ringmaster_archive_expired_objects_total";

/// Proofs by a restore. Label: `result`.
pub const PROOFS: &str = "ringmaster_proofs_total";
/// Time that proofs took that succeeded, in seconds.
pub const PROOF_SECONDS: &str = "ringmaster_proof_seconds";
/// Age of the oldest last proof of a timeline, in seconds; sampled by a sweep.
pub const PROOFS_OLDEST_SECONDS: &str = "ringmaster_proofs_oldest_seconds";
/// Timelines that were not proven for longer than their plan allows; sampled by a sweep.
pub const PROOFS_LATE: &str = "ringmaster_proofs_late";

fn push_results() -> Vec<&'static str> {
    vec![
        "pushed",
        "idle",
        "overtaken",
        "refused",
        "failed",
        "missing",
        "conflict",
    ]
}

fn kinds() -> Vec<&'static str> {
    vec!["chunk", "segment"]
}

fn object_results() -> Vec<&'static str> {
    vec![
        "stored",
        "adopted",
        "failed",
        "unfinished",
        "missing",
        "conflict",
    ]
}

fn backup_results() -> Vec<&'static str> {
    vec!["finished", "failed"]
}

fn proof_results() -> Vec<&'static str> {
    vec!["succeeded", "failed", "moot"]
}

fn expired_kinds() -> Vec<&'static str> {
    vec!["backup", "wal", "destroyed"]
}

pub(super) const TABLE: &[Metric] = &[
    gauges(
        BEHIND_SECONDS,
        Unit::Seconds,
        "Age of the oldest WAL that is known to wait for the archive; 0 when none is.",
        &[],
    ),
    gauges(
        BEHIND_BYTES,
        Unit::Bytes,
        "WAL that is known to wait for the archive, all timelines together.",
        &[],
    ),
    gauges(
        TIMELINES_BEHIND,
        Unit::Count,
        "Timelines with WAL that is known to wait for the archive.",
        &[],
    ),
    gauges(
        CONDITIONAL_WRITES,
        Unit::Count,
        "Whether the archive's store keeps two writers of one name apart: 1 if it does, 0 if it \
         ignores conditions or has not said yet.",
        &[],
    ),
    counts(
        PUSHES,
        "Pushes of WAL, by how they ended.",
        &[closed("result", push_results)],
    ),
    counts(
        OBJECTS,
        "Objects of WAL that agents were told to write, by what became of them.",
        &[closed("kind", kinds), closed("result", object_results)],
    ),
    counts(
        BYTES,
        "Bytes of the objects of WAL that agents wrote.",
        &[closed("kind", kinds)],
    ),
    counts(
        BACKUPS,
        "Base backups, by how they ended.",
        &[closed("result", backup_results)],
    ),
    counts(
        BACKUP_BYTES,
        "Bytes of the objects of base backups that are complete.",
        &[],
    ),
    gauges(
        BACKUPS_DUE,
        Unit::Count,
        "Base backups that are due and not finished.",
        &[],
    ),
    counts(
        PROOFS,
        "Proofs that a timeline can be restored, by how they ended; those of timelines that were \
         destroyed meanwhile are moot.",
        &[closed("result", proof_results)],
    ),
    times(
        PROOF_SECONDS,
        "Time from the plan of a restore to the end of its check, of proofs that succeeded.",
        &[],
    ),
    gauges(
        PROOFS_OLDEST_SECONDS,
        Unit::Seconds,
        "Time since the timeline was proven, or promised to be, that was not for longest.",
        &[],
    ),
    gauges(
        PROOFS_LATE,
        Unit::Count,
        "Timelines that were not proven for longer than their plan allows.",
        &[],
    ),
    counts(
        EXPIRED,
        "Objects that were deleted from the archive because nothing that is kept needs them.",
        &[closed("kind", expired_kinds)],
    ),
];
