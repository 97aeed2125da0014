//! What pushes tell the metrics.

use metrics::counter;
use shared::agent_api::wal::{Placed, WalPushed};
use shared::telemetry::metrics::archive;

/// A push ended with `result`.
pub(super) fn pushed(result: &'static str) {
    counter!(archive::PUSHES, "result" => result).increment(1);
}

/// What became of the objects of a push.
pub(super) fn objects(answer: &WalPushed) {
    for (kind, outcomes) in [("chunk", &answer.chunks), ("segment", &answer.segments)] {
        for placed in outcomes {
            let (result, bytes) = match placed {
                Placed::Stored { object_bytes, .. } => ("stored", *object_bytes),
                Placed::Adopted { .. } => ("adopted", 0),
                Placed::Conflict { .. } => ("conflict", 0),
                Placed::Missing => ("missing", 0),
                Placed::Failed { .. } => ("failed", 0),
                Placed::Unfinished => ("unfinished", 0),
            };
            counter!(archive::OBJECTS, "kind" => kind, "result" => result).increment(1);
            counter!(archive::BYTES, "kind" => kind).increment(bytes);
        }
    }
}
