//! Metrics of the rings and of turns.

use ::metrics::Unit;

use super::{COUNT_BUCKETS, Kind, Label, Metric, closed, counts, gauges, times};
use crate::domain::JobKind;

/// Members of a ring, leased ones too. Label: `ring`.
pub const RING_MEMBERS: &str = "ringmaster_ring_members";
/// Members that are due and not leased. Label: `ring`.
pub const RING_DUE: &str = "ringmaster_ring_due_members";
/// Members that are leased. Label: `ring`.
pub const RING_LEASED: &str = "ringmaster_ring_leased_members";
/// Age of the longest overdue member in seconds; 0 when none is. Label: `ring`.
pub const RING_OLDEST_DUE: &str = "ringmaster_ring_oldest_due_age_seconds";
/// Time one full turn of the ring takes at the present pace, in seconds. Label: `ring`.
pub const RING_LAP: &str = "ringmaster_ring_lap_seconds";
/// Turns that ended. Labels: `ring`, `kind`, `result`.
pub const TURNS: &str = "ringmaster_ring_turns_total";
/// Time from the start of a turn to its end, in seconds. Labels: `ring`, `kind`, `result`.
pub const TURN_SECONDS: &str = "ringmaster_ring_turn_seconds";
/// Time from due to claimed, in seconds. Label: `ring`.
pub const OVERDUE_SECONDS: &str = "ringmaster_ring_overdue_seconds";
/// Members in a claim that found any. Label: `ring`.
pub const CLAIM_BATCH: &str = "ringmaster_ring_claim_batch_members";
/// Members in one settle. Label: `ring`.
pub const SETTLE_BATCH: &str = "ringmaster_ring_settle_batch_members";
/// Settlements by the answer to them. Labels: `ring`, `reply`.
pub const SETTLEMENTS: &str = "ringmaster_ring_settlements_total";
/// Leases lost while their turn was running. Label: `ring`.
pub const LEASES_LOST: &str = "ringmaster_ring_leases_lost_total";
/// Failed calls to Redis. Labels: `ring`, `verb`.
pub const REDIS_ERRORS: &str = "ringmaster_ring_redis_errors_total";
/// Rings rebuilt from the control database. Labels: `ring`, `result`.
pub const REBUILDS: &str = "ringmaster_ring_rebuilds_total";
/// Members this worker holds now. Label: `ring`.
pub const IN_FLIGHT: &str = "ringmaster_ring_in_flight_members";
/// Shards this worker owns now. Label: `ring`.
pub const OWNED_SHARDS: &str = "ringmaster_ring_owned_shards";
/// Differences between control database and queue that the audit repaired. Label: `repair`.
pub const AUDIT_REPAIRS: &str = "ringmaster_ring_audit_repairs_total";
/// Jobs that failed too often and wait for a person. Label: `kind`.
pub const JOBS_DEAD: &str = "ringmaster_jobs_dead";

/// Values of the label `ring`.
pub fn rings() -> Vec<&'static str> {
    vec!["urgent", "ring", "jobs", "archive"]
}

/// Values of the label `kind` of a turn.
pub fn member_kinds() -> Vec<&'static str> {
    vec![
        "resource",
        "server",
        "provision",
        "deprovision",
        "recover",
        "catch_up",
        "wal_push",
        "base_backup",
        "expire",
        "verify",
    ]
}

fn job_kinds() -> Vec<&'static str> {
    JobKind::ALL.iter().map(|kind| kind.as_str()).collect()
}

fn turn_results() -> Vec<&'static str> {
    vec!["again", "done", "error", "panic", "timeout"]
}

fn settle_replies() -> Vec<&'static str> {
    vec!["settled", "woken", "lost", "given_up", "superseded"]
}

fn verbs() -> Vec<&'static str> {
    vec![
        "claim",
        "extend",
        "settle",
        "rebuild",
        "heartbeat",
        "subscribe",
    ]
}

const RING: &[Label] = &[closed("ring", rings)];

const fn batches(name: &'static str, about: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram(COUNT_BUCKETS),
        unit: Unit::Count,
        about,
        labels: RING,
    }
}

const fn ring_gauge(name: &'static str, unit: Unit, about: &'static str) -> Metric {
    gauges(name, unit, about, RING)
}

pub(super) const TABLE: &[Metric] = &[
    ring_gauge(
        RING_MEMBERS,
        Unit::Count,
        "Members of a ring, leased ones too.",
    ),
    ring_gauge(
        RING_DUE,
        Unit::Count,
        "Members that are due and not leased.",
    ),
    ring_gauge(RING_LEASED, Unit::Count, "Members that are leased."),
    ring_gauge(
        RING_OLDEST_DUE,
        Unit::Seconds,
        "Age of the longest overdue member; 0 when none is.",
    ),
    ring_gauge(
        RING_LAP,
        Unit::Seconds,
        "Time one full turn of the ring takes at the present pace.",
    ),
    counts(
        TURNS,
        "Turns that ended, by result.",
        &[
            closed("ring", rings),
            closed("kind", member_kinds),
            closed("result", turn_results),
        ],
    ),
    times(
        TURN_SECONDS,
        "Duration of a turn.",
        &[
            closed("ring", rings),
            closed("kind", member_kinds),
            closed("result", turn_results),
        ],
    ),
    times(
        OVERDUE_SECONDS,
        "Time from due to claimed.",
        &[closed("ring", rings)],
    ),
    batches(CLAIM_BATCH, "Members in a claim that found any."),
    batches(SETTLE_BATCH, "Members in one settle."),
    counts(
        SETTLEMENTS,
        "Settlements, by the answer to them.",
        &[closed("ring", rings), closed("reply", settle_replies)],
    ),
    counts(
        LEASES_LOST,
        "Leases lost while their turn was running.",
        &[closed("ring", rings)],
    ),
    counts(
        REDIS_ERRORS,
        "Failed calls to Redis.",
        &[closed("ring", rings), closed("verb", verbs)],
    ),
    counts(
        REBUILDS,
        "Rings rebuilt from the control database.",
        &[
            closed("ring", rings),
            closed("result", || vec!["ok", "error"]),
        ],
    ),
    ring_gauge(IN_FLIGHT, Unit::Count, "Members this worker holds now."),
    ring_gauge(OWNED_SHARDS, Unit::Count, "Shards this worker owns now."),
    counts(
        AUDIT_REPAIRS,
        "Differences between control database and queue that the audit repaired.",
        &[closed("repair", || vec!["entered", "woken"])],
    ),
    gauges(
        JOBS_DEAD,
        Unit::Count,
        "Jobs that failed too often and wait for a person.",
        &[closed("kind", job_kinds)],
    ),
];
