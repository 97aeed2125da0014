//! Where the metrics of feeling are counted. Their names are in [`shared::telemetry::metrics`].

use std::time::Duration;

use ::metrics::{counter, gauge, histogram};
use shared::domain::{Observation, Outage};
use shared::telemetry::metrics::fleet::{
    OBSERVATION_SECONDS, OBSERVATIONS, OBSERVE_CONNECTIONS, OBSERVE_CONNECTIONS_OPENED,
    SURVEYS_FAILED,
};

/// What a connection was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be kept.
    Keep,
    /// For one survey of a database on a shared server.
    Survey,
}

/// An open connection, counted for as long as this lives.
pub(super) struct OpenSession(());

impl OpenSession {
    /// Counts one more.
    pub(super) fn count(purpose: Purpose) -> Self {
        let purpose = match purpose {
            Purpose::Keep => "keep",
            Purpose::Survey => "survey",
        };
        counter!(OBSERVE_CONNECTIONS_OPENED, "purpose" => purpose).increment(1);
        gauge!(OBSERVE_CONNECTIONS).increment(1.0);
        Self(())
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        gauge!(OBSERVE_CONNECTIONS).decrement(1.0);
    }
}

/// Counts one observation.
pub(super) fn observed(observation: &Observation, took: Duration) {
    let result = match observation.outage {
        None => "available",
        Some(Outage::Refused) => "refused",
        Some(Outage::TimedOut) => "timed_out",
        Some(Outage::Broken) => "broken",
    };
    counter!(OBSERVATIONS, "result" => result).increment(1);
    histogram!(OBSERVATION_SECONDS, "result" => result).record(took.as_secs_f64());
}

/// Counts a survey that failed.
pub(super) fn survey_failed() {
    counter!(SURVEYS_FAILED).increment(1);
}
