//! A claimed member on its way through apalis.

use std::time::Duration;

use shared::queue::{Member, Outcome};
use tokio::sync::mpsc::UnboundedSender;

use super::handler::Turn;
use super::in_flight::{Admitted, Ended};

/// The task that apalis carries: a turn, and the duty to say how it ended.
pub(super) struct Job {
    pub(super) turn: Turn,
    /// Taken by the outermost layer, so that it outlives whatever the layers inside do.
    pub(super) duty: Option<Duty>,
}

impl Job {
    pub(super) fn new(admitted: Admitted, ends: UnboundedSender<Ended>) -> Self {
        let duty = Duty {
            member: admitted.claim.member,
            serial: admitted.serial,
            ends,
            open: true,
        };
        Self {
            turn: Turn::new(admitted.claim, admitted.lease),
            duty: Some(duty),
        }
    }
}

/// The duty to settle. Dropped without an outcome (at shutdown, or because a lane restarts), it
/// hands the member back: due again now.
pub(super) struct Duty {
    member: Member,
    serial: u64,
    ends: UnboundedSender<Ended>,
    open: bool,
}

impl Duty {
    pub(super) fn fulfil(mut self, outcome: Outcome) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Outcome) {
        self.open = false;
        let ended = Ended {
            member: self.member,
            serial: self.serial,
            outcome,
        };
        if self.ends.send(ended).is_err() {
            // Nobody settles any more: the lease will run out, and another worker takes over.
            tracing::debug!(member.id = %self.member.id, "no settle loop is left");
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if self.open {
            self.send(Outcome::Again(Duration::ZERO));
        }
    }
}
