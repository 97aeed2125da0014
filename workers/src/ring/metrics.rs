//! Metrics of the worker loop: names, units, labels.

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use shared::queue::{MemberKind, Ring};

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

/// How a turn ended, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnResult {
    Again,
    Done,
    Error,
    Panic,
    Timeout,
}

impl TurnResult {
    const ALL: [Self; 5] = [
        Self::Again,
        Self::Done,
        Self::Error,
        Self::Panic,
        Self::Timeout,
    ];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Done => "done",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
        }
    }
}

/// What became of a settlement, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Settled,
    Woken,
    Lost,
    /// Redis could not be reached until the lease had certainly ended.
    GivenUp,
    /// The member had been claimed anew by this worker: the older turn's outcome is not sent.
    Superseded,
}

impl Settled {
    const ALL: [Self; 5] = [
        Self::Settled,
        Self::Woken,
        Self::Lost,
        Self::GivenUp,
        Self::Superseded,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Woken => "woken",
            Self::Lost => "lost",
            Self::GivenUp => "given_up",
            Self::Superseded => "superseded",
        }
    }
}

/// The calls to Redis whose errors are counted, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Claim,
    Extend,
    Settle,
    Rebuild,
    Heartbeat,
}

impl Verb {
    const ALL: [Self; 5] = [
        Self::Claim,
        Self::Extend,
        Self::Settle,
        Self::Rebuild,
        Self::Heartbeat,
    ];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Extend => "extend",
            Self::Settle => "settle",
            Self::Rebuild => "rebuild",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// Describes every metric once: name, unit, meaning.
pub fn describe() {
    describe_counter!(TURNS, Unit::Count, "Turns that ended, by result");
    describe_histogram!(TURN_SECONDS, Unit::Seconds, "Duration of a turn");
    describe_histogram!(OVERDUE_SECONDS, Unit::Seconds, "Time from due to claimed");
    describe_histogram!(
        CLAIM_BATCH,
        Unit::Count,
        "Members in a claim that found any"
    );
    describe_histogram!(SETTLE_BATCH, Unit::Count, "Members in one settle");
    describe_counter!(
        SETTLEMENTS,
        Unit::Count,
        "Settlements, by the answer to them"
    );
    describe_counter!(
        LEASES_LOST,
        Unit::Count,
        "Leases lost while their turn was running"
    );
    describe_counter!(REDIS_ERRORS, Unit::Count, "Failed calls to Redis, by verb");
    describe_counter!(
        REBUILDS,
        Unit::Count,
        "Rings rebuilt from the control database"
    );
    describe_gauge!(IN_FLIGHT, Unit::Count, "Members this worker holds now");
    describe_gauge!(OWNED_SHARDS, Unit::Count, "Shards this worker owns now");
}

/// The metrics of one ring, looked up once, because a turn may cost less than a look-up.
pub(super) struct RingMetrics {
    turns: Vec<[(Counter, Histogram); 5]>,
    settlements: [Counter; 5],
    redis_errors: [Counter; 5],
    pub(super) overdue: Histogram,
    pub(super) claim_batch: Histogram,
    pub(super) settle_batch: Histogram,
    pub(super) leases_lost: Counter,
    pub(super) rebuilt: Counter,
    pub(super) rebuild_failed: Counter,
    pub(super) in_flight: metrics::Gauge,
    pub(super) owned: metrics::Gauge,
}

impl RingMetrics {
    /// Looks up, and thereby creates at zero, every series of `ring`.
    pub(super) fn new(ring: Ring) -> Self {
        let ring = ring.as_str();
        let turn = |kind: MemberKind, result: TurnResult| {
            let labels = [
                ("ring", ring),
                ("kind", kind.as_str()),
                ("result", result.label()),
            ];
            (counter!(TURNS, &labels), histogram!(TURN_SECONDS, &labels))
        };
        Self {
            turns: MemberKind::ALL
                .map(|kind| TurnResult::ALL.map(|result| turn(kind, result)))
                .into(),
            settlements: Settled::ALL
                .map(|reply| counter!(SETTLEMENTS, "ring" => ring, "reply" => reply.label())),
            redis_errors: Verb::ALL
                .map(|verb| counter!(REDIS_ERRORS, "ring" => ring, "verb" => verb.label())),
            overdue: histogram!(OVERDUE_SECONDS, "ring" => ring),
            claim_batch: histogram!(CLAIM_BATCH, "ring" => ring),
            settle_batch: histogram!(SETTLE_BATCH, "ring" => ring),
            leases_lost: counter!(LEASES_LOST, "ring" => ring),
            rebuilt: counter!(REBUILDS, "ring" => ring, "result" => "ok"),
            rebuild_failed: counter!(REBUILDS, "ring" => ring, "result" => "error"),
            in_flight: gauge!(IN_FLIGHT, "ring" => ring),
            owned: gauge!(OWNED_SHARDS, "ring" => ring),
        }
    }

    pub(super) fn turn_ended(&self, kind: MemberKind, result: TurnResult, seconds: f64) {
        let kind = MemberKind::ALL.iter().position(|known| *known == kind);
        let result = TurnResult::ALL.iter().position(|known| *known == result);
        if let Some((count, duration)) = kind
            .zip(result)
            .and_then(|(kind, result)| self.turns.get(kind)?.get(result))
        {
            count.increment(1);
            duration.record(seconds);
        }
    }

    pub(super) fn settled(&self, reply: Settled, count: u64) {
        if let Some(known) = Settled::ALL.iter().position(|known| *known == reply) {
            self.settlements[known].increment(count);
        }
    }

    pub(super) fn redis_error(&self, verb: Verb) {
        if let Some(known) = Verb::ALL.iter().position(|known| *known == verb) {
            self.redis_errors[known].increment(1);
        }
    }
}
