//! What the owner of a ring provides: the turn of one member, and what follows a failure.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use shared::queue::{Claim, Member, Outcome};

use super::backoff::{Backoff, mix};
use super::lease::Lease;

/// Back-off of a turn that failed, unless the handler decides otherwise.
const AFTER_FAILURE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// Any error that ends a turn.
pub type TurnError = Box<dyn Error + Send + Sync>;

/// Does the work of a ring, one member at a time.
///
/// A turn may be killed between any two instructions, run twice, or late. It takes no input but
/// the member's id, and asks [`Turn::still_mine`] before each effect.
pub trait Handler: Send + Sync + 'static {
    /// Turns one member: look, decide, do one idempotent thing, record, say when to come back.
    ///
    /// # Errors
    /// Any error is a failure of this turn, and [`Handler::failed`] says when to come back.
    fn turn(&self, turn: &Turn) -> impl Future<Output = Result<Outcome, TurnError>> + Send;

    /// Says what follows a turn that failed, panicked or took too long. The lease is still held,
    /// so a dead letter can be written here. The default comes back after a second, later after
    /// up to a minute.
    fn failed(&self, turn: &Turn, failure: &Failure) -> impl Future<Output = Outcome> + Send {
        let wait = AFTER_FAILURE.after(failure.streak, turn.salt());
        async move { Outcome::Again(wait) }
    }
}

/// One turn of one member, with the right to it.
#[derive(Debug, Clone)]
pub struct Turn {
    claim: Claim,
    lease: Lease,
}

impl Turn {
    /// The turn of what was claimed, with the lease that came with it.
    pub fn new(claim: Claim, lease: Lease) -> Self {
        Self { claim, lease }
    }

    /// The member that is turned.
    pub fn member(&self) -> Member {
        self.claim.member
    }

    /// The claim: member, token, shard, and how overdue it was.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Whether the member is certainly still ours, see [`Lease::still_mine`].
    pub fn still_mine(&self) -> bool {
        self.lease.still_mine()
    }

    /// The lease itself, for work that goes on beside the turn.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// A number that differs between members and between turns of a member: for jitter.
    pub fn salt(&self) -> u64 {
        let (high, low) = self.claim.member.id.as_u64_pair();
        mix(high ^ low ^ mix(self.claim.token.counter))
    }
}

/// How a turn failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// Failures of this member in a row that this worker saw, this one included (1 or more).
    pub streak: u32,
    /// The error with its sources, for people.
    pub message: String,
}

/// The ways in which a turn fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The handler returned an error.
    Error,
    /// The handler panicked.
    Panic,
    /// The turn took longer than its timeout and was dropped.
    Timeout,
}
