//! The metrics of one ring, looked up once. Their names are in [`shared::telemetry::metrics::ring`].

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use shared::queue::{MemberKind, Ring};
use shared::telemetry::metrics::ring::{
    CLAIM_BATCH, IN_FLIGHT, LEASES_LOST, OVERDUE_SECONDS, OWNED_SHARDS, REBUILDS, REDIS_ERRORS,
    SETTLE_BATCH, SETTLEMENTS, TURN_SECONDS, TURNS,
};

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
pub(super) enum Fate {
    Settled,
    Woken,
    Lost,
    /// Redis could not be reached until the lease had certainly ended.
    GivenUp,
    /// The member had been claimed anew by this worker: the older turn's outcome is not sent.
    Superseded,
}

impl Fate {
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
    pub(super) in_flight: Gauge,
    pub(super) owned: Gauge,
}

impl RingMetrics {
    /// Looks up every series of `ring`.
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
            settlements: Fate::ALL
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

    pub(super) fn settled(&self, reply: Fate, count: u64) {
        if let Some(known) = Fate::ALL.iter().position(|known| *known == reply) {
            self.settlements[known].increment(count);
        }
    }

    pub(super) fn redis_error(&self, verb: Verb) {
        if let Some(known) = Verb::ALL.iter().position(|known| *known == verb) {
            self.redis_errors[known].increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::telemetry::metrics::ALL;

    use super::*;

    /// The values that the table of all metrics knows for a label.
    fn known(metric: &str, label: &str) -> Vec<&'static str> {
        let metric = ALL.iter().find(|known| known.name == metric).unwrap();
        let label = metric
            .labels
            .iter()
            .find(|known| known.key == label)
            .unwrap();
        label.values.unwrap()()
    }

    #[test]
    fn every_label_is_in_the_table_of_all_metrics() {
        assert_eq!(known(TURNS, "ring"), Ring::ALL.map(Ring::as_str));
        assert_eq!(
            known(TURNS, "kind"),
            MemberKind::ALL.map(MemberKind::as_str)
        );
        assert_eq!(
            known(TURNS, "result"),
            TurnResult::ALL.map(TurnResult::label)
        );
        assert_eq!(known(SETTLEMENTS, "reply"), Fate::ALL.map(Fate::label));
        let verbs = known(REDIS_ERRORS, "verb");
        assert!(
            Verb::ALL.iter().all(|verb| verbs.contains(&verb.label())),
            "{verbs:?}"
        );
    }
}
