//! The machine of a participant: from a plan to no byte left.
//!
//! It is taken in the turn of its server, after the server's machine. What the participant shall be
//! is rendered from the rows of the control database into one spec; [`Step::Instruct`] gives it a
//! generation before anything leaves the control plane. Data is born once: an agent that lost what
//! it held is never told to make it anew.

mod decide;

use std::time::Duration;

use super::{Alert, Deadline, Decision, Machine, Row, row, words};
use crate::agent_api::Phase;
use crate::domain::{MachineKind, ParticipantState, ServerState};

use ParticipantState::{Creating, Down, Planned, Removed, Removing, Serving};

/// The machine of a participant.
#[derive(Debug, Clone, Copy)]
pub struct Participant;

words!(
    /// What was seen of, or asked of, a participant.
    Event {
        /// The agent made the first instruction durable.
        Instructed = "instructed",
        /// A whole instruction holds, and PostgreSQL runs.
        Converged = "converged",
        /// PostgreSQL does not run, or cannot be seen. Stored along: the problem.
        PostgresLost = "postgres_lost",
        /// PostgreSQL runs again; problem cleared.
        PostgresBack = "postgres_back",
        /// The agent counts more unasked ends of PostgreSQL than are recorded. Stored along: its
        /// count.
        CrashSeen = "crash_seen",
        /// It shall go.
        DestroyRequested = "destroy_requested",
        /// The agent says that neither process nor data is left, or none was ever told to make any.
        DataGone = "data_gone",
        /// The server is gone, and all data with it.
        ServerGone = "server_gone",
    }
);

words!(
    /// What a worker can do about a participant.
    Step {
        /// Render the spec from the rows. If its digest is not the recorded one, allocate the next
        /// generation by compare-and-set, with the digest; in the same transaction give that
        /// generation to the attached resources that have none and still are of the version that
        /// was rendered. Then send it to the agent.
        Instruct = "instruct",
        /// Record the converged generation and wake the resources that waited for it.
        Acknowledge = "acknowledge",
        /// Sign what the agent wants to read from the archive, give it to it, and store how far its
        /// restore is.
        GiveReads = "give_reads",
        /// Ask for the end of the server, which lived for this participant.
        MarkServerForDestruction = "mark_server_for_destruction",
    }
);

/// Whose data the agent says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holds {
    /// Nobody's: it was never given a spec, or lost it.
    Nothing,
    /// That of this participant.
    This,
    /// That of another participant.
    Another,
}

/// What the agent's status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentReport {
    /// Whose data it holds.
    pub holds: Holds,
    /// Highest generation made durable there; 0 before the first.
    pub generation: u64,
    /// Highest generation that holds in full; 0 before the first.
    pub converged_generation: u64,
    /// Where its work stands.
    pub phase: Phase,
    /// PostgreSQL runs.
    pub postgres_runs: bool,
    /// Unasked ends of PostgreSQL it counts.
    pub crashes: u64,
    /// It restores from the archive, or follows it.
    pub wants_reads: bool,
    /// Half of the WAL that it may keep for the archive waits there, or more than it may did and is
    /// given up.
    pub wal_half_kept: bool,
}

/// Everything the decision about a participant is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are independent of each other"
)]
pub struct Facts {
    /// Its state.
    pub state: ParticipantState,
    /// How long it has been in this state.
    pub time_in_state: Duration,
    /// The stored deadline of the state has passed.
    pub deadline_passed: bool,
    /// Somebody decided that it shall go.
    pub destroy_requested: bool,
    /// Cadence of its server's plan.
    pub cadence: Duration,
    /// State of its server, after the server's own machine was taken.
    pub server: ServerState,
    /// The server was asked to go.
    pub server_destroy_requested: bool,
    /// Number of the newest instruction allocated; 0 before the first.
    pub generation: u64,
    /// Highest generation recorded as holding in full; 0 before the first.
    pub acknowledged_generation: u64,
    /// The recorded digest is that of the spec as rendered now, and no attached resource waits for
    /// a generation of its own.
    pub instruction_is_current: bool,
    /// Unasked ends of PostgreSQL recorded.
    pub crashes: u64,
    /// What the agent says; nothing if it was not asked or did not answer.
    pub agent: Option<AgentReport>,
}

impl Machine for Participant {
    type State = ParticipantState;
    type Event = Event;
    type Step = Step;
    type Facts = Facts;

    const KIND: MachineKind = MachineKind::Participant;
    const INITIAL: ParticipantState = Planned;
    const TABLE: &'static [Row<ParticipantState, Event>] = &[
        row(
            Planned,
            Event::Instructed,
            Creating,
            "its agent took the first instruction",
        ),
        row(
            Planned,
            Event::DestroyRequested,
            Removing,
            "it is not needed any more",
        ),
        row(
            Planned,
            Event::ServerGone,
            Removed,
            "its server is gone before it was made",
        ),
        row(
            Creating,
            Event::Converged,
            Serving,
            "PostgreSQL runs as instructed",
        ),
        row(
            Creating,
            Event::DestroyRequested,
            Removing,
            "it is not needed any more",
        ),
        row(
            Creating,
            Event::ServerGone,
            Removed,
            "its server is gone before it was made",
        ),
        row(
            Serving,
            Event::PostgresLost,
            Down,
            "PostgreSQL does not run, or its agent does not answer any more",
        ),
        row(
            Serving,
            Event::CrashSeen,
            Serving,
            "PostgreSQL ended without being told to; its agent cleaned up and started it again",
        ),
        row(
            Serving,
            Event::DestroyRequested,
            Removing,
            "it is not needed any more",
        ),
        row(
            Serving,
            Event::ServerGone,
            Removed,
            "its server is gone, and its data with it",
        ),
        row(Down, Event::PostgresBack, Serving, "PostgreSQL runs again"),
        row(
            Down,
            Event::CrashSeen,
            Down,
            "PostgreSQL ended without being told to; its agent cleans up and starts it again",
        ),
        row(
            Down,
            Event::DestroyRequested,
            Removing,
            "it is not needed any more",
        ),
        row(
            Down,
            Event::ServerGone,
            Removed,
            "its server is gone, and its data with it",
        ),
        row(
            Removing,
            Event::DataGone,
            Removed,
            "neither process nor data is left",
        ),
        row(
            Removing,
            Event::ServerGone,
            Removed,
            "its server is gone, and its data with it",
        ),
    ];

    fn decide(facts: &Facts) -> Decision<Event, Step> {
        decide::decide(facts)
    }

    fn deadline(state: ParticipantState) -> Option<Deadline> {
        let (minutes, alert) = match state {
            Planned => (10, Alert::ParticipantWaitsForServer),
            Creating => (5, Alert::ParticipantCreationLate),
            Down => (2, Alert::ParticipantDown),
            Removing => (10, Alert::ParticipantRemovalLate),
            Serving | Removed => return None,
        };
        Some(Deadline {
            after: Duration::from_mins(minutes),
            alert,
        })
    }
}
