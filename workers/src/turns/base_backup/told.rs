//! What backups tell the metrics.

use metrics::counter;
use shared::telemetry::metrics::archive;

/// A backup ended with `result`.
pub(super) fn ended(result: &'static str) {
    counter!(archive::BACKUPS, "result" => result).increment(1);
}

/// A backup is complete, in objects of so many bytes.
pub(super) fn finished(stored_bytes: u64) {
    ended("finished");
    counter!(archive::BACKUP_BYTES).increment(stored_bytes);
}
