//! Metrics of the fleet: machines and their transitions, observations, alerts.

use ::metrics::Unit;

use super::{COUNT_BUCKETS, Kind, Metric, closed, counts, gauges, open, times};
use crate::domain::{MachineKind, ParticipantState, ResourceState, ServerState};

/// Resources by state; sampled by a sweep. Label: `state`.
pub const RESOURCES: &str = "ringmaster_resources";
/// Participants by state; sampled by a sweep. Label: `state`.
pub const PARTICIPANTS: &str = "ringmaster_participants";
/// Servers by state; sampled by a sweep. Label: `state`.
pub const SERVERS: &str = "ringmaster_servers";
/// Recorded transitions. Labels: `machine`, `from`, `to`.
pub const TRANSITIONS: &str = "ringmaster_transitions_total";
/// Events that were not in the table of their machine and were refused. Label: `machine`.
pub const REFUSED_EVENTS: &str = "ringmaster_refused_events_total";
/// Time spent in the state that a transition left, in seconds. Labels: `machine`, `state`.
pub const STATE_SECONDS: &str = "ringmaster_time_in_state_seconds";
/// States that outlasted their deadline. Label: `machine`.
pub const DEADLINE_BREACHES: &str = "ringmaster_deadline_breaches_total";
/// Open alerts; sampled by a sweep. Label: `alert`.
pub const ALERTS_OPEN: &str = "ringmaster_alerts_open";
/// Followers that are there; sampled by a sweep.
pub const FOLLOWERS: &str = "ringmaster_followers";
/// WAL that a follower has not replayed, in bytes, of the one that is furthest behind; sampled by a
/// sweep.
pub const FOLLOWER_BYTES: &str = "ringmaster_follower_behind_bytes";
/// Time for which a follower has not replayed what its leader had, in seconds, of the one where that is
/// longest; sampled by a sweep.
pub const FOLLOWER_SECONDS: &str = "ringmaster_follower_behind_seconds";
/// Observations made. Label: `result`.
pub const OBSERVATIONS: &str = "ringmaster_observations_total";
/// Duration of one observation in seconds. Label: `result`.
pub const OBSERVATION_SECONDS: &str = "ringmaster_observation_seconds";
/// Connections opened to customers' servers: to be kept (does not grow in steady state), or for one
/// survey of a database on a shared server. Label: `purpose`.
pub const OBSERVE_CONNECTIONS_OPENED: &str = "ringmaster_observe_connections_opened_total";
/// Connections to customers' servers that are open.
pub const OBSERVE_CONNECTIONS: &str = "ringmaster_observe_connections";
/// Surveys (size and tables of a database) that failed; the last numbers are shown on.
pub const SURVEYS_FAILED: &str = "ringmaster_surveys_failed_total";
/// Observations in one write to the control database.
pub const OBSERVATION_BATCH: &str = "ringmaster_observation_batch_count";
/// Observations that wait to be written.
pub const OBSERVATIONS_WAITING: &str = "ringmaster_observations_waiting";
/// Observations of the history that were dropped because too many waited.
pub const OBSERVATIONS_DROPPED: &str = "ringmaster_observations_dropped_total";
/// Writes of observations that failed; they are tried again.
pub const OBSERVATION_WRITES_FAILED: &str = "ringmaster_observation_writes_failed_total";
/// Observations written to the control database. Label: `table`.
pub const OBSERVATIONS_WRITTEN: &str = "ringmaster_observations_written_total";
/// Time from the request of a resource to its first moment available, in seconds. Label: `plan`.
pub const PROVISION_SECONDS: &str = "ringmaster_provision_seconds";

fn machines() -> Vec<&'static str> {
    MachineKind::ALL.iter().map(|kind| kind.as_str()).collect()
}

fn resource_states() -> Vec<&'static str> {
    ResourceState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect()
}

fn participant_states() -> Vec<&'static str> {
    ParticipantState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect()
}

fn server_states() -> Vec<&'static str> {
    ServerState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect()
}

/// Values of the label `result` of an observation: what was found.
pub fn observation_results() -> Vec<&'static str> {
    vec!["available", "refused", "timed_out", "broken"]
}

pub(super) const TABLE: &[Metric] = &[
    gauges(
        RESOURCES,
        Unit::Count,
        "Resources by state.",
        &[closed("state", resource_states)],
    ),
    gauges(
        PARTICIPANTS,
        Unit::Count,
        "Participants by state.",
        &[closed("state", participant_states)],
    ),
    gauges(
        SERVERS,
        Unit::Count,
        "Servers by state.",
        &[closed("state", server_states)],
    ),
    gauges(FOLLOWERS, Unit::Count, "Followers that are there.", &[]),
    gauges(
        FOLLOWER_BYTES,
        Unit::Bytes,
        "WAL that a follower has not replayed, of the one that is furthest behind.",
        &[],
    ),
    gauges(
        FOLLOWER_SECONDS,
        Unit::Seconds,
        "Time for which a follower has not replayed what its leader had, where that is longest.",
        &[],
    ),
    counts(
        TRANSITIONS,
        "Recorded transitions.",
        &[closed("machine", machines), open("from"), open("to")],
    ),
    counts(
        REFUSED_EVENTS,
        "Events that were not in the table of their machine and were refused.",
        &[closed("machine", machines)],
    ),
    times(
        STATE_SECONDS,
        "Time spent in the state that a transition left.",
        &[closed("machine", machines), open("state")],
    ),
    counts(
        DEADLINE_BREACHES,
        "States that outlasted their deadline.",
        &[closed("machine", machines)],
    ),
    gauges(ALERTS_OPEN, Unit::Count, "Open alerts.", &[open("alert")]),
    counts(
        OBSERVATIONS,
        "Observations made, by what was found.",
        &[closed("result", observation_results)],
    ),
    times(
        OBSERVATION_SECONDS,
        "Duration of one observation.",
        &[closed("result", observation_results)],
    ),
    counts(
        OBSERVE_CONNECTIONS_OPENED,
        "Connections opened to customers' servers; those to keep do not grow in steady state.",
        &[closed("purpose", || vec!["keep", "survey"])],
    ),
    gauges(
        OBSERVE_CONNECTIONS,
        Unit::Count,
        "Connections to customers' servers that are open.",
        &[],
    ),
    counts(
        SURVEYS_FAILED,
        "Surveys (size and tables of a database) that failed.",
        &[],
    ),
    Metric {
        name: OBSERVATION_BATCH,
        kind: Kind::Histogram(COUNT_BUCKETS),
        unit: Unit::Count,
        about: "Observations in one write to the control database.",
        labels: &[],
    },
    gauges(
        OBSERVATIONS_WAITING,
        Unit::Count,
        "Observations that wait to be written.",
        &[],
    ),
    counts(
        OBSERVATIONS_DROPPED,
        "Observations of the history dropped because too many waited.",
        &[],
    ),
    counts(
        OBSERVATION_WRITES_FAILED,
        "Writes of observations that failed and are tried again.",
        &[],
    ),
    counts(
        OBSERVATIONS_WRITTEN,
        "Observations written to the control database.",
        &[closed("table", || vec!["newest", "history"])],
    ),
    times(
        PROVISION_SECONDS,
        "Time from the request of a resource to its first moment available.",
        &[open("plan")],
    ),
];
