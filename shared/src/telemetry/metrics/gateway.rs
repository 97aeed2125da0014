//! Metrics of the gateway.

use ::metrics::Unit;

use super::{Metric, closed, counts, gauges, times};

/// Routes that are in force or on their way there.
pub const ROUTES: &str = "ringmaster_gateway_routes";
/// Clients. Labels: `pooling`, `state`.
pub const CLIENTS: &str = "ringmaster_gateway_clients";
/// Connections to servers. Label: `pooling`.
pub const SERVER_CONNECTIONS: &str = "ringmaster_gateway_server_connections";
/// Duration of a round: read, apply, look, say so.
pub const ROUND_SECONDS: &str = "ringmaster_gateway_round_seconds";
/// Parts of rounds that failed and are tried again. Label: `part`.
pub const FAILURES: &str = "ringmaster_gateway_failures_total";

/// Values of the label `pooling`.
pub fn poolings() -> Vec<&'static str> {
    vec!["session", "transaction"]
}

/// Values of the label `state`.
pub fn client_states() -> Vec<&'static str> {
    vec!["active", "waiting"]
}

/// Values of the label `part`.
pub fn parts() -> Vec<&'static str> {
    vec!["read", "apply", "beat"]
}

pub(super) const TABLE: &[Metric] = &[
    gauges(ROUTES, Unit::Count, "Routes that this gateway knows.", &[]),
    gauges(
        CLIENTS,
        Unit::Count,
        "Clients that have a connection to a server, and that wait for one.",
        &[closed("pooling", poolings), closed("state", client_states)],
    ),
    gauges(
        SERVER_CONNECTIONS,
        Unit::Count,
        "Connections to servers, used or not.",
        &[closed("pooling", poolings)],
    ),
    times(
        ROUND_SECONDS,
        "Duration of a round of the gateway: routes read, applied, looked at and acknowledged.",
        &[],
    ),
    counts(
        FAILURES,
        "Parts of rounds that failed and are tried again.",
        &[closed("part", parts)],
    ),
];
