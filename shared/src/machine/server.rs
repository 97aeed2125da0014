//! The machine of a server: from being asked for at its provider to being gone.
//!
//! One turn of the ring member `server:<id>` takes this machine first and then that of the
//! participant on it. The provider is asked only where its answer can matter ([`asks_provider`]).

mod decide;

use std::time::Duration;

use super::{Alert, Deadline, Decision, Machine, Row, row, words};
use crate::domain::{MachineKind, ParticipantState, ServerState};

use ServerState::{Booting, Ready, Requested, Terminated, Terminating, Unreachable};

/// Time-outs in a row after which an agent counts as lost: one may be a hiccup of ours.
pub const TIME_OUTS_UNTIL_LOST: u32 = 3;

/// Age of the stored last contact after which it is stored anew. Not each time: a healthy fleet
/// shall not write.
pub const CONTACT_EVERY: Duration = Duration::from_mins(1);

/// Age of the last contact after which an agent counts as lost, however few time-outs this worker
/// has counted itself.
pub const SILENT_UNTIL_LOST: Duration = Duration::from_mins(3);

/// How long a server must have been unreachable before a request to destroy it is honoured although
/// its participant could not remove its data first.
pub const UNREACHABLE_UNTIL_GIVEN_UP: Duration = Duration::from_mins(10);

/// The machine of a server.
#[derive(Debug, Clone, Copy)]
pub struct Server;

words!(
    /// What was seen of, or asked of, a server.
    Event {
        /// The provider knows the instance.
        LaunchAsked = "launch_asked",
        /// The agent answers. Stored along: address, boot id, moment of contact; problem cleared.
        AgentAnswered = "agent_answered",
        /// The agent does not answer any more. Stored along: the problem.
        AgentLost = "agent_lost",
        /// The agent tells another boot id than before. Stored along: the boot id.
        RebootSeen = "reboot_seen",
        /// It shall go, and nothing on it is needed any more.
        DestroyRequested = "destroy_requested",
        /// The provider confirms that the instance is gone.
        InstanceGone = "instance_gone",
    }
);

words!(
    /// What a worker can do about a server.
    Step {
        /// Have the provider make or start the instance and its agent, under a name derived from
        /// the server's id; store instance id, address and ports. Nothing happens to one that runs.
        EnsureInstance = "ensure_instance",
        /// Sign a new certificate for the agent's key and hand it over.
        RenewCertificate = "renew_certificate",
        /// Store the moment of contact, and the boot id if none is known.
        RecordContact = "record_contact",
        /// Have the provider destroy the instance and its data. One that is gone stays gone.
        DestroyInstance = "destroy_instance",
    }
);

/// What the provider says about the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderView {
    /// It was not asked this time.
    NotAsked,
    /// There is none of this name.
    Absent,
    /// It is being made or started.
    Pending,
    /// It runs, and its agent with it as far as the provider can tell.
    Running,
    /// It is there but does not run.
    Stopped,
    /// The provider gave no answer that can be relied on.
    Unknown,
}

/// How the agent answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentView {
    /// It was not asked this time, for example because no address is known.
    NotAsked,
    /// It answered.
    Answers {
        /// The boot id is another one than the stored one. False while none is stored.
        rebooted: bool,
        /// Its certificate is in the last third of its life, or does not name its address.
        certificate_due: bool,
    },
    /// Hard evidence: connection refused or reset, or the provider says that it is dead.
    Refused,
    /// Soft evidence: no answer in time.
    TimedOut {
        /// How often in a row, this time included, as far as this worker knows (≥ 1).
        in_a_row: u32,
    },
}

/// Everything the decision about a server is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its state.
    pub state: ServerState,
    /// How long it has been in this state.
    pub time_in_state: Duration,
    /// The stored deadline of the state has passed.
    pub deadline_passed: bool,
    /// Somebody decided that it shall go.
    pub destroy_requested: bool,
    /// Cadence of its plan.
    pub cadence: Duration,
    /// Host and ports are stored.
    pub address_known: bool,
    /// Age of the stored last contact; nothing if there was none. The contact of this very look
    /// does not count.
    pub silent_for: Option<Duration>,
    /// What the provider says.
    pub provider: ProviderView,
    /// How the agent answered.
    pub agent: AgentView,
    /// State of the newest participant on it; nothing if there never was one.
    pub participant: Option<ParticipantState>,
}

/// Whether the provider must be asked before deciding: always, but for a server whose agent
/// answers.
pub fn asks_provider(state: ServerState, agent: AgentView) -> bool {
    match state {
        Requested | Terminating | Terminated => true,
        Booting | Ready | Unreachable => !matches!(agent, AgentView::Answers { .. }),
    }
}

/// Whether the agent must be asked before deciding.
pub fn asks_agent(state: ServerState) -> bool {
    match state {
        Booting | Ready | Unreachable => true,
        Requested | Terminating | Terminated => false,
    }
}

impl Machine for Server {
    type State = ServerState;
    type Event = Event;
    type Step = Step;
    type Facts = Facts;

    const KIND: MachineKind = MachineKind::Server;
    const INITIAL: ServerState = Requested;
    const TABLE: &'static [Row<ServerState, Event>] = &[
        row(
            Requested,
            Event::LaunchAsked,
            Booting,
            "the provider knows the instance",
        ),
        row(
            Requested,
            Event::DestroyRequested,
            Terminating,
            "it is not needed any more",
        ),
        row(
            Booting,
            Event::AgentAnswered,
            Ready,
            "its agent answered for the first time",
        ),
        row(
            Booting,
            Event::DestroyRequested,
            Terminating,
            "it is not needed any more",
        ),
        row(
            Ready,
            Event::AgentLost,
            Unreachable,
            "its agent does not answer any more",
        ),
        row(
            Ready,
            Event::RebootSeen,
            Ready,
            "the machine was rebooted, and everything on it was started again",
        ),
        row(
            Ready,
            Event::DestroyRequested,
            Terminating,
            "nothing on it is needed any more",
        ),
        row(
            Unreachable,
            Event::AgentAnswered,
            Ready,
            "its agent answers again",
        ),
        row(
            Unreachable,
            Event::DestroyRequested,
            Terminating,
            "nothing on it is needed any more, or what is left there goes with the machine",
        ),
        row(
            Terminating,
            Event::InstanceGone,
            Terminated,
            "the provider confirms that it is gone",
        ),
    ];

    fn decide(facts: &Facts) -> Decision<Event, Step> {
        decide::decide(facts)
    }

    fn deadline(state: ServerState) -> Option<Deadline> {
        let (minutes, alert) = match state {
            Requested => (5, Alert::ServerLaunchLate),
            Booting => (5, Alert::ServerBootLate),
            Unreachable => (2, Alert::ServerUnreachable),
            Terminating => (10, Alert::ServerTerminationLate),
            Ready | Terminated => return None,
        };
        Some(Deadline {
            after: Duration::from_mins(minutes),
            alert,
        })
    }
}
