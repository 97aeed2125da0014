//! The machine of a resource: from a customer's wish to a record of what was.
//!
//! The same decision serves two kinds of askers ([`Driver`]). The ring feels the resource for ever
//! and records what it sees, but leaves the work to jobs and makes sure that they exist; the jobs
//! `provision`, `recover` and `deprovision` perform the steps.
//!
//! Making: secrets, what it is a copy of (if it is one), place, participant told and acknowledged, service seen to answer, endpoint
//! pointed, available. Ending: endpoint withdrawn, participant told to drop what belongs to the
//! resource (or to go altogether, if it lived for this resource alone) and acknowledged, secrets
//! erased, deprovisioned. Only then is the name free again.

mod decide;

use std::time::Duration;

use super::{Alert, Deadline, Decision, Machine, Row, row, words};
use crate::domain::{JobKind, MachineKind, Outage, ParticipantState, ResourceState, ServerState};

use ResourceState::{Available, Creating, Deprovisioned, Deprovisioning, Recovering, Unavailable};

/// Time-outs in a row after which a service counts as lost: one may be a hiccup of ours.
pub const TIME_OUTS_UNTIL_LOST: u32 = 2;

/// How long a service must have been absent by hard evidence before its repair begins. Agents
/// start a crashed PostgreSQL again in less.
pub const HARD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a service must have been absent by time-outs before its repair begins.
pub const SOFT_PATIENCE: Duration = Duration::from_secs(30);

/// Looks in a row that found a service absent although its participant serves, after which a
/// resource that was never available has PostgreSQL restarted.
pub const LOOKS_UNTIL_STUCK: u32 = 10;

/// Least time between two restarts in place of one participant, whichever of its resources asks.
pub const RESTART_PAUSE: Duration = Duration::from_mins(2);

/// The machine of a resource.
#[derive(Debug, Clone, Copy)]
pub struct Resource;

words!(
    /// What was seen of, or asked of, a resource.
    Event {
        /// The service answers at its endpoint for the first time. Stored along: the pending
        /// operation `create` succeeds.
        ServiceReady = "service_ready",
        /// The service does not answer any more. Stored along: the problem.
        ServiceLost = "service_lost",
        /// The service answers again; problem cleared.
        ServiceBack = "service_back",
        /// The absence lasted, with evidence that it is not only us who are cut off. Stored along:
        /// the job `recover`.
        RecoveryStarted = "recovery_started",
        /// PostgreSQL started anew between two looks that both found it answering. Stored along, as
        /// with every event of a look that was answered: when it started.
        RestartSeen = "restart_seen",
        /// The customer asked to destroy it. Stored along: the generation it was instructed with is
        /// forgotten, because it needs something else now; the job `deprovision`; a pending
        /// operation `create` fails.
        DestroyRequested = "destroy_requested",
        /// What it shall begin as a copy of cannot be restored. Stored along: as with a request to
        /// destroy it; the pending operation `create` fails with the reason.
        SourceRefused = "source_refused",
        /// Nothing of it is left but the record. Stored along: the pending operation `destroy`
        /// succeeds.
        EverythingGone = "everything_gone",
    }
);

words!(
    /// What a worker can do about a resource.
    Step {
        /// Make the password and its verifier and store them encrypted, both or none.
        MakeSecrets = "make_secrets",
        /// Find out up to where the original must be in the archive; once it is, choose backup, way
        /// and target, and store them together with what forbids their deletion. Or store why that
        /// will never be possible.
        FindSource = "find_source",
        /// In one transaction: take a participant with room, or make one with its server (ids are
        /// made here; all names derive from them), and attach the resource, with no generation
        /// instructed yet. Replaces an attachment to a participant that will never serve.
        Place = "place",
        /// Wake the server of the participant, so that it is told what the resource needs.
        AwaitParticipant = "await_participant",
        /// Have the database of a copy brought over from the hidden instance that was restored for it, or
        /// look how far that is. Once all of it is there: store that, ask for the end of the hidden
        /// instance, and forget the generation it was instructed with, because the database belongs to
        /// what it needs now, in one transaction. Or store why that will never be possible.
        Transfer = "transfer",
        /// Look at the service now and store what is seen.
        Probe = "probe",
        /// Allocate the next endpoint generation by compare-and-set; point the endpoint at the
        /// participant with it; store address and acknowledgement.
        PointEndpoint = "point_endpoint",
        /// Wake the server of the participant, so that its machines repair what they can.
        Repair = "repair",
        /// Ask for a restart of PostgreSQL in place: raise the incarnation of the participant by
        /// compare-and-set, with the moment, and wake its server.
        RestartInPlace = "restart_in_place",
        /// Allocate the next endpoint generation by compare-and-set; withdraw the endpoint with it;
        /// erase the address and store the acknowledgement, and if the participant lived for this
        /// resource alone, ask for its end, in one transaction.
        Withdraw = "withdraw",
        /// Wake the server of the participant, so that it removes what belongs to the resource.
        AwaitRemoval = "await_removal",
        /// Erase the secrets and detach from the participant, in one transaction.
        Forget = "forget",
    }
);

/// Who asks for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// The ring: it looks and records, and makes sure that jobs exist.
    Ring,
    /// A job: it also performs steps, in the state that it is for.
    Job(JobKind),
}

/// What a resource begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nothing: it is empty.
    Empty,
    /// A copy; what it is restored from is to be found.
    Wanted,
    /// A copy; it is known what it is restored from.
    Planned,
    /// A copy of what shares a server, or that does itself; it is known what is restored, hidden, and
    /// its database is to be brought over.
    Donated,
    /// A copy that cannot be made.
    Refused,
}

/// What the resource needs of its participant, and how far that is told: by
/// `resources.instructed_generation` and `participants.acknowledged_generation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// No generation carries it yet.
    NotGiven,
    /// A generation carries it, but the agent did not acknowledge that one yet.
    Given,
    /// The agent holds it in full.
    Acknowledged,
}

/// How the agent of the server answers, as a second vantage. Asked only while the resource is not
/// well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentView {
    /// It was not asked this time.
    NotAsked,
    /// It answers, and its PostgreSQL runs.
    Runs,
    /// It answers and is at work: it creates, starts (which includes redo) or stops PostgreSQL.
    Busy,
    /// It answers and has nothing that runs.
    Idle,
    /// Hard evidence: refused or reset, or its server is known to be without agent.
    Refused,
    /// Soft evidence: no answer in time.
    TimedOut,
}

/// The participant a resource is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// State of the participant.
    pub participant: ParticipantState,
    /// The participant was asked to go.
    pub destroy_requested: bool,
    /// State of its server.
    pub server: ServerState,
    /// Whether it was told what the resource needs.
    pub instruction: Instruction,
    /// How its agent answers.
    pub agent: AgentView,
    /// Time since PostgreSQL was last asked to restart in place; nothing if it never was.
    pub restart_asked_ago: Option<Duration>,
}

/// Where the endpoint stands.
///
/// Known by the generation of the newest word to it, and whether it acknowledged that one. A word
/// that was not acknowledged may still arrive: only the acknowledgement of a higher one makes sure
/// that it does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointView {
    /// It was never told anything, or it acknowledged its newest word, a withdrawal.
    Unset,
    /// It did not acknowledge its newest word, or that points elsewhere than at the participant's
    /// present address.
    Behind,
    /// It acknowledged its newest word, which points at the participant's present address.
    Pointed,
}

/// What the newest look saw. A look older than the next one should be, or made before the present
/// attachment was acknowledged, is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seen {
    /// There is no look that is new enough.
    Nothing,
    /// The service answered.
    Answers {
        /// PostgreSQL started at another moment than the look before this one saw. False in an
        /// evaluation that follows the record of it.
        restarted: bool,
    },
    /// The service did not answer.
    Absent {
        /// Why.
        outage: Outage,
        /// How often in a row, this time included, as far as this worker knows (≥ 1).
        in_a_row: u32,
    },
}

/// How the disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskView {
    /// Nobody told.
    Unknown,
    /// Well.
    Well,
    /// Writes do not finish: the probe's age or a WAL wait is far beyond the usual.
    Hangs,
    /// Less than a tenth is free.
    NearlyFull,
}

/// Everything the decision about a resource is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are independent of each other"
)]
pub struct Facts {
    /// Who asks.
    pub driver: Driver,
    /// Its state.
    pub state: ResourceState,
    /// How long it has been in this state.
    pub time_in_state: Duration,
    /// The stored deadline of the state has passed.
    pub deadline_passed: bool,
    /// The customer asked to destroy it.
    pub destroy_requested: bool,
    /// Cadence of its plan.
    pub cadence: Duration,
    /// Its plan gives it a participant of its own.
    pub dedicated: bool,
    /// Password and verifier are stored.
    pub secrets_made: bool,
    /// What it begins with.
    pub source: Source,
    /// Where it lives; nothing before placement and after the end.
    pub attached: Option<Attached>,
    /// Where the endpoint stands.
    pub endpoint: EndpointView,
    /// What the newest look saw.
    pub seen: Seen,
    /// How the disk does.
    pub disk: DiskView,
}

/// Whether the agent must be asked before deciding: only where its answer can matter.
pub fn asks_agent(state: ResourceState) -> bool {
    match state {
        Creating | Unavailable | Recovering => true,
        Available | Deprovisioning | Deprovisioned => false,
    }
}

/// The job whose goal it is to leave a state.
pub fn job_of(state: ResourceState) -> Option<JobKind> {
    match state {
        Creating => Some(JobKind::Provision),
        Recovering => Some(JobKind::Recover),
        Deprovisioning => Some(JobKind::Deprovision),
        Available | Unavailable | Deprovisioned => None,
    }
}

impl Machine for Resource {
    type State = ResourceState;
    type Event = Event;
    type Step = Step;
    type Facts = Facts;

    const KIND: MachineKind = MachineKind::Resource;
    const INITIAL: ResourceState = Creating;
    const TABLE: &'static [Row<ResourceState, Event>] = &[
        row(
            Creating,
            Event::ServiceReady,
            Available,
            "the service answers at its endpoint",
        ),
        row(
            Creating,
            Event::DestroyRequested,
            Deprovisioning,
            "its destruction was asked for",
        ),
        row(
            Creating,
            Event::SourceRefused,
            Deprovisioning,
            "what it should begin as a copy of cannot be restored",
        ),
        row(
            Available,
            Event::ServiceLost,
            Unavailable,
            "the service does not answer",
        ),
        row(
            Available,
            Event::RestartSeen,
            Available,
            "PostgreSQL was restarted since it was last seen",
        ),
        row(
            Available,
            Event::DestroyRequested,
            Deprovisioning,
            "its destruction was asked for",
        ),
        row(
            Unavailable,
            Event::ServiceBack,
            Available,
            "the service answers again",
        ),
        row(
            Unavailable,
            Event::RecoveryStarted,
            Recovering,
            "the absence lasted, and it is not only we who are cut off",
        ),
        row(
            Unavailable,
            Event::DestroyRequested,
            Deprovisioning,
            "its destruction was asked for",
        ),
        row(
            Recovering,
            Event::ServiceBack,
            Available,
            "the service answers again",
        ),
        row(
            Recovering,
            Event::DestroyRequested,
            Deprovisioning,
            "its destruction was asked for",
        ),
        row(
            Deprovisioning,
            Event::EverythingGone,
            Deprovisioned,
            "its data and its secrets are gone",
        ),
    ];

    fn decide(facts: &Facts) -> Decision<Event, Step> {
        decide::decide(facts)
    }

    fn deadline(state: ResourceState) -> Option<Deadline> {
        let (minutes, alert) = match state {
            Creating => (10, Alert::ResourceCreationLate),
            Unavailable => (2, Alert::ResourceUnavailable),
            Recovering => (10, Alert::ResourceRecoveryLate),
            Deprovisioning => (15, Alert::ResourceRemovalLate),
            Available | Deprovisioned => return None,
        };
        Some(Deadline {
            after: Duration::from_mins(minutes),
            alert,
        })
    }
}
