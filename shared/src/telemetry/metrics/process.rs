//! Metrics of every process, and of its calls to the outside.

use ::metrics::Unit;

use super::{Metric, closed, counts, gauges, open, times};

/// Always 1; its labels tell what runs.
pub const BUILD_INFO: &str = "ringmaster_build_info";
/// Calls through a port. Labels: `port`, `method`, `result`.
pub const PORT_CALLS: &str = "ringmaster_port_calls_total";
/// Duration of calls through a port in seconds. Labels: `port`, `method`.
pub const PORT_CALL_SECONDS: &str = "ringmaster_port_call_seconds";
/// Failures of the control database that were answered by trying again later.
pub const DATABASE_ERRORS: &str = "ringmaster_database_errors_total";

/// Values of the label `result` of a call.
pub fn call_results() -> Vec<&'static str> {
    vec!["ok", "error", "timeout"]
}

pub(super) const TABLE: &[Metric] = &[
    gauges(
        BUILD_INFO,
        Unit::Count,
        "Always 1; its labels tell what runs.",
        &[open("service"), open("version")],
    ),
    counts(
        PORT_CALLS,
        "Calls to agents, providers and endpoints.",
        &[open("port"), open("method"), closed("result", call_results)],
    ),
    times(
        PORT_CALL_SECONDS,
        "Duration of those calls.",
        &[open("port"), open("method")],
    ),
    counts(
        DATABASE_ERRORS,
        "Failures of the control database that were answered by trying again later.",
        &[],
    ),
];
