//! What is said to the queue, and what it answers.

use std::time::Duration;

use super::{Member, Shard, Token};

/// The right to work on one member for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// What to work on.
    pub member: Member,
    /// The proof of the lease, to be shown when it is settled.
    pub token: Token,
    /// Where it was claimed, and has to be settled.
    pub shard: Shard,
    /// For how long it had been due, or its last lease expired, when it was claimed, in ms.
    pub overdue_ms: u64,
}

/// What `claim` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimReply {
    /// The shard has no ring epoch: it has to be built from the control database.
    NoRing,
    /// There is a ring.
    Claims {
        /// The leases, none twice; empty if nothing is due.
        claims: Vec<Claim>,
        /// Time until the next member is due or the next lease expires, these leases included;
        /// zero: more is due already; `None`: the shard is empty.
        next_due: Option<Duration>,
    },
}

/// When a member wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// After this time, counted from the moment it settles.
    Again(Duration),
    /// Never: its goal is reached.
    Done,
}

/// The end of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// What was worked on.
    pub member: Member,
    /// The proof of its lease.
    pub token: Token,
    /// When it wants its next turn.
    pub outcome: Outcome,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SettleReply {
    /// It has the effect that it asked for.
    Settled,
    /// The lease ended, and the member is due now, because it was woken during its turn.
    Woken,
    /// The lease was somebody else's by then, or none; nothing changed. Normal after a repetition.
    Lost,
}

/// What `enter` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnterReply {
    /// Members that were absent and are waiting now.
    pub entered: usize,
    /// Members that were in the queue already (or named twice).
    pub present: usize,
}

/// How `wake` found the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WakeReply {
    /// Absent: it entered and is due now.
    Entered,
    /// Waiting for a later time: it is due now.
    Advanced,
    /// Due already.
    Due,
    /// Leased: it is due again when its turn ends.
    Marked,
}

/// What `leave` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaveReply {
    /// The member was in the queue and is not any more.
    Left,
    /// It was not in the queue.
    Absent,
}

/// What `begin` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BeginReply {
    /// The epoch is open.
    Begun,
    /// The shard has this epoch, which is not lower, and keeps it.
    Refused {
        /// The present epoch.
        present: u64,
    },
}

/// What is in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardStats {
    /// The ring epoch; `None`: there is no ring.
    pub epoch: Option<u64>,
    /// Members waiting or leased.
    pub size: u64,
    /// Members waiting that are due.
    pub due: u64,
    /// Members leased, expired leases included.
    pub leased: u64,
    /// Members whose lease has expired, and that nobody has taken over yet.
    pub expired: u64,
    /// For how long the oldest of the due members has been due; zero if none is.
    pub oldest_due_age: Duration,
}

/// A place in the list of the members of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembersCursor {
    pub(super) leased: bool,
    pub(super) at: u64,
}

impl MembersCursor {
    /// The beginning. Leased members come first: one that settles meanwhile is then listed among
    /// the waiting ones.
    pub const START: Self = Self {
        leased: true,
        at: 0,
    };
}

/// A part of the list of the members of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersPage {
    /// The members, in no particular order.
    pub members: Vec<Member>,
    /// Where the list goes on; `None`: this was the end.
    pub next: Option<MembersCursor>,
}
