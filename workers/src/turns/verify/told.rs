//! What proofs tell the metrics.

use std::time::Duration;

use metrics::{counter, histogram};
use shared::telemetry::metrics::archive;

/// A proof succeeded that took so long.
pub(super) fn succeeded(took: Duration) {
    ended("succeeded");
    histogram!(archive::PROOF_SECONDS).record(took.as_secs_f64());
}

/// A proof failed.
pub(super) fn failed() {
    ended("failed");
}

/// What a proof was to prove is gone.
pub(super) fn moot() {
    ended("moot");
}

fn ended(result: &'static str) {
    counter!(archive::PROOFS, "result" => result).increment(1);
}
