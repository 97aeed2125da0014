//! What turns tell the metrics.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use shared::domain::MachineKind;
use shared::machine::Refused;
use shared::queue::Ring;
use shared::telemetry::metrics::{fleet, ring};

/// A transition was recorded; the state that it left had lasted for `lasted`.
pub(super) fn moved(
    machine: MachineKind,
    (from, to): (&'static str, &'static str),
    lasted: Duration,
) {
    let name = machine.as_str();
    counter!(fleet::TRANSITIONS, "machine" => name, "from" => from, "to" => to).increment(1);
    if from != to {
        histogram!(fleet::STATE_SECONDS, "machine" => name, "state" => from)
            .record(lasted.as_secs_f64());
    }
}

/// An event was not in the table.
pub(super) fn refused(machine: MachineKind) -> impl FnOnce(Refused) -> Refused {
    move |refused| {
        counter!(fleet::REFUSED_EVENTS, "machine" => machine.as_str()).increment(1);
        refused
    }
}

/// An alert was raised because a state outlasted its deadline.
pub(super) fn deadline_passed(machine: MachineKind) {
    counter!(fleet::DEADLINE_BREACHES, "machine" => machine.as_str()).increment(1);
}

/// A resource became available `after` it was asked for.
pub(super) fn provisioned(plan: &str, after: Duration) {
    histogram!(fleet::PROVISION_SECONDS, "plan" => plan.to_owned()).record(after.as_secs_f64());
}

/// The marked member of a ring was turned again after `lap`.
pub(super) fn lapped(of: Ring, lap: Duration) {
    gauge!(ring::RING_LAP, "ring" => of.as_str()).set(lap.as_secs_f64());
}
