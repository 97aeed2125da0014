//! What every process tells about itself: log lines, metrics, and whether it is ready.
//!
//! - Logs are logfmt on standard output, one event a line. Field names are dotted and singular
//!   (`resource.id`, `turn.duration_ms`); `request_id` follows a request through every process;
//!   `error` is the only key of errors and holds the whole [`chain`]. Levels: error – a person must
//!   act; warn – degraded; info – transitions and lifecycle; debug – every turn. Secrets, values of
//!   SQL statements and connection strings are never logged: their type prints `[redacted]`.
//! - Metrics are the table in [`metrics`]: one row each, described once, at zero from the start.
//! - [`StatusServer`] answers `/metrics`, `/healthz` and `/readyz` for processes without an API.

mod logging;
pub mod metrics;
mod recorder;
mod serving;
mod stage;
mod status;

pub(crate) use logging::parse_filter;
pub use logging::{LogError, chain, init_logging, request_span};
pub use recorder::{MetricsHandle, RecorderError, install_recorder};
pub use serving::serve;
pub use stage::Stage;
pub use status::{Readiness, StatusError, StatusServer};
