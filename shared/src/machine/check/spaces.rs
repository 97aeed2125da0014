//! Every class of facts a decision can be asked about: the product of the classes of each fact.
//!
//! The spaces of server and participant are walked whole; of the resource's every 499th point: a
//! prime, so that every pair of classes meets thousands of times.

use std::time::Duration;

use super::{Machine, Participant, Resource, Server};
use crate::agent_api::Phase;
use crate::domain::{JobKind, Outage, ParticipantState, ResourceState, ServerState};
use crate::machine::{participant, resource, server};

/// Cadence of all cases: that of the slowest plan.
pub(super) const CADENCE: Duration = Duration::from_mins(1);

const BOOLS: [bool; 2] = [false, true];

/// A machine whose facts can be enumerated.
pub(super) trait Space: Machine {
    /// Calls for each class of facts.
    fn for_each(case: impl FnMut(&Self::Facts));

    /// The state in the facts.
    fn state(facts: &Self::Facts) -> Self::State;

    /// Whether the stored deadline has passed.
    fn deadline_passed(facts: &Self::Facts) -> bool;

    /// Whether the state is one that has a deadline.
    fn waits(facts: &Self::Facts) -> bool {
        Self::deadline(Self::state(facts)).is_some()
    }
}

/// One point of a product of classes, read off an index digit by digit.
struct Point(usize);

impl Point {
    fn pick<T: Copy>(&mut self, classes: &[T]) -> T {
        let digit = self.0 % classes.len();
        self.0 /= classes.len();
        classes[digit]
    }

    /// Whether the index was beyond the last point.
    fn is_beyond(&self) -> bool {
        self.0 > 0
    }
}

/// Walks a space by its indexes.
fn walk<F>(stride: usize, at: impl Fn(&mut Point) -> F, mut case: impl FnMut(&F)) {
    for index in (0..).step_by(stride) {
        let mut point = Point(index);
        let facts = at(&mut point);
        if point.is_beyond() {
            return;
        }
        case(&facts);
    }
}

impl Space for Server {
    fn for_each(case: impl FnMut(&server::Facts)) {
        walk(1, server_facts, case);
    }

    fn state(facts: &server::Facts) -> ServerState {
        facts.state
    }

    fn deadline_passed(facts: &server::Facts) -> bool {
        facts.deadline_passed
    }
}

fn server_facts(point: &mut Point) -> server::Facts {
    use server::{AgentView, ProviderView};

    server::Facts {
        state: point.pick(ServerState::ALL),
        time_in_state: point.pick(&[
            Duration::ZERO,
            Duration::from_mins(1),
            server::UNREACHABLE_UNTIL_GIVEN_UP,
        ]),
        deadline_passed: point.pick(&BOOLS),
        destroy_requested: point.pick(&BOOLS),
        cadence: CADENCE,
        address_known: point.pick(&BOOLS),
        silent_for: point.pick(&[
            None,
            Some(Duration::ZERO),
            Some(server::CONTACT_EVERY),
            Some(server::SILENT_UNTIL_LOST),
        ]),
        provider: point.pick(&[
            ProviderView::NotAsked,
            ProviderView::Absent,
            ProviderView::Pending,
            ProviderView::Running,
            ProviderView::Stopped,
            ProviderView::Unknown,
        ]),
        agent: point.pick(&[
            AgentView::NotAsked,
            AgentView::Answers {
                rebooted: false,
                certificate_due: false,
            },
            AgentView::Answers {
                rebooted: true,
                certificate_due: false,
            },
            AgentView::Answers {
                rebooted: false,
                certificate_due: true,
            },
            AgentView::Answers {
                rebooted: true,
                certificate_due: true,
            },
            AgentView::Refused,
            AgentView::TimedOut { in_a_row: 1 },
            AgentView::TimedOut {
                in_a_row: server::TIME_OUTS_UNTIL_LOST,
            },
        ]),
        participant: point.pick(&[
            None,
            Some(ParticipantState::Planned),
            Some(ParticipantState::Creating),
            Some(ParticipantState::Serving),
            Some(ParticipantState::Down),
            Some(ParticipantState::Removing),
            Some(ParticipantState::Removed),
        ]),
    }
}

impl Space for Participant {
    fn for_each(case: impl FnMut(&participant::Facts)) {
        walk(1, participant_facts, case);
    }

    fn state(facts: &participant::Facts) -> ParticipantState {
        facts.state
    }

    fn deadline_passed(facts: &participant::Facts) -> bool {
        facts.deadline_passed
    }
}

fn participant_facts(point: &mut Point) -> participant::Facts {
    let (generation, acknowledged_generation) =
        point.pick(&[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2)]);
    participant::Facts {
        state: point.pick(ParticipantState::ALL),
        time_in_state: Duration::ZERO,
        deadline_passed: point.pick(&BOOLS),
        destroy_requested: point.pick(&BOOLS),
        cadence: CADENCE,
        server: point.pick(&[
            ServerState::Booting,
            ServerState::Ready,
            ServerState::Unreachable,
            ServerState::Terminated,
        ]),
        server_destroy_requested: point.pick(&BOOLS),
        generation,
        acknowledged_generation,
        instruction_is_current: point.pick(&BOOLS),
        crashes: 0,
        agent: agent_report(point),
    }
}

fn agent_report(point: &mut Point) -> Option<participant::AgentReport> {
    use participant::Holds;

    let holds = point.pick(&[
        None,
        Some(Holds::Nothing),
        Some(Holds::This),
        Some(Holds::Another),
    ]);
    let (generation, converged_generation) = point.pick(&[
        (0, 0),
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
        (2, 2),
        (3, 0),
        (3, 2),
        (3, 3),
    ]);
    let phase = point.pick(&[
        Phase::Empty,
        Phase::Creating,
        Phase::Starting,
        Phase::Running,
        Phase::Stopping,
        Phase::Stopped,
        Phase::Removed,
    ]);
    let (postgres_runs, crashes, wal_half_kept) = point.pick(&[
        (false, 0, false),
        (true, 0, false),
        (true, 0, true),
        (false, 1, false),
        (true, 1, false),
    ]);
    let wants_reads = point.pick(&BOOLS);
    holds.map(|holds| participant::AgentReport {
        holds,
        generation,
        converged_generation,
        phase,
        postgres_runs,
        crashes,
        wants_reads,
        wal_half_kept,
    })
}

impl Space for Resource {
    fn for_each(case: impl FnMut(&resource::Facts)) {
        walk(499, resource_facts, case);
    }

    fn state(facts: &resource::Facts) -> ResourceState {
        facts.state
    }

    fn deadline_passed(facts: &resource::Facts) -> bool {
        facts.deadline_passed
    }
}

fn resource_facts(point: &mut Point) -> resource::Facts {
    use resource::{DiskView, Driver, EndpointView, Seen, Source};

    resource::Facts {
        driver: point.pick(&[
            Driver::Ring,
            Driver::Job(JobKind::Provision),
            Driver::Job(JobKind::Recover),
            Driver::Job(JobKind::Deprovision),
        ]),
        state: point.pick(ResourceState::ALL),
        time_in_state: point.pick(&[
            Duration::ZERO,
            resource::HARD_PATIENCE,
            resource::SOFT_PATIENCE,
        ]),
        deadline_passed: point.pick(&BOOLS),
        destroy_requested: point.pick(&BOOLS),
        cadence: CADENCE,
        dedicated: point.pick(&BOOLS),
        secrets_made: point.pick(&BOOLS),
        endpoint: point.pick(&[
            EndpointView::Unset,
            EndpointView::Behind,
            EndpointView::Pointed,
        ]),
        seen: point.pick(&[
            Seen::Nothing,
            Seen::Answers { restarted: false },
            Seen::Answers { restarted: true },
            Seen::Absent {
                outage: Outage::Refused,
                in_a_row: 1,
            },
            Seen::Absent {
                outage: Outage::Broken,
                in_a_row: 1,
            },
            Seen::Absent {
                outage: Outage::TimedOut,
                in_a_row: 1,
            },
            Seen::Absent {
                outage: Outage::TimedOut,
                in_a_row: 2,
            },
        ]),
        disk: point.pick(&[
            DiskView::Unknown,
            DiskView::Well,
            DiskView::Hangs,
            DiskView::NearlyFull,
        ]),
        source: point.pick(&[
            Source::Empty,
            Source::Wanted,
            Source::Planned,
            Source::Donated,
            Source::Refused,
        ]),
        attached: attached(point),
    }
}

fn attached(point: &mut Point) -> Option<resource::Attached> {
    use resource::{AgentView, Instruction};

    let participant = point.pick(&[
        None,
        Some(ParticipantState::Planned),
        Some(ParticipantState::Creating),
        Some(ParticipantState::Serving),
        Some(ParticipantState::Down),
        Some(ParticipantState::Removing),
        Some(ParticipantState::Removed),
    ]);
    let instruction = point.pick(&[
        Instruction::NotGiven,
        Instruction::Given,
        Instruction::Acknowledged,
    ]);
    let agent = point.pick(&[
        AgentView::NotAsked,
        AgentView::Runs,
        AgentView::Busy,
        AgentView::Idle,
        AgentView::Refused,
        AgentView::TimedOut,
    ]);
    let destroy_requested = point.pick(&BOOLS);
    let server = point.pick(ServerState::ALL);
    let restart_asked_ago =
        point.pick(&[None, Some(Duration::ZERO), Some(resource::RESTART_PAUSE)]);
    participant.map(|participant| resource::Attached {
        participant,
        destroy_requested,
        server,
        instruction,
        agent,
        restart_asked_ago,
    })
}
