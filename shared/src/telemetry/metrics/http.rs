//! Metrics of the HTTP API.

use super::{Metric, closed, counts, open, times};

/// Requests that were answered. Labels: `route`, `method`, `status`.
pub const HTTP_REQUESTS: &str = "ringmaster_http_requests_total";
/// Time to the answer in seconds. Labels: `route`, `method`.
pub const HTTP_REQUEST_SECONDS: &str = "ringmaster_http_request_seconds";
/// Requests that were refused before they were looked at. Label: `reason`.
pub const HTTP_REFUSED: &str = "ringmaster_http_refused_total";

/// Wakes that did not reach the queue; the audit makes up for them.
pub const HTTP_WAKES_FAILED: &str = "ringmaster_http_wakes_failed_total";

fn refusals() -> Vec<&'static str> {
    vec!["rate_limit", "unauthorised", "too_large"]
}

pub(super) const TABLE: &[Metric] = &[
    counts(
        HTTP_REQUESTS,
        "Requests that were answered.",
        &[open("route"), open("method"), open("status")],
    ),
    times(
        HTTP_REQUEST_SECONDS,
        "Time to the answer.",
        &[open("route"), open("method")],
    ),
    counts(
        HTTP_REFUSED,
        "Requests that were refused before they were looked at.",
        &[closed("reason", refusals)],
    ),
    counts(
        HTTP_WAKES_FAILED,
        "Wakes that did not reach the queue; the audit makes up for them.",
        &[],
    ),
];
