//! A whole little fleet in memory: what turns read, what they change, and what must never happen.

pub(crate) mod cloud;
pub(crate) mod dice;
mod facts;
mod laws;
pub(crate) mod queue;
pub(crate) mod rows;
mod steps;
pub(crate) mod turn;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use shared::domain::{JobKind, Outage};
use shared::fakes::Routes;
use shared::machine::Alert;

use cloud::{Address, Cloud, Happening};
use dice::Dice;
use queue::Queue;
use rows::{Pid, Rid, Rows, Sid};

/// Lines of the story that are kept for a failing test.
const STORY_LINES: usize = 400;

/// Databases on one shared server. Small, so that new ones are needed.
pub(crate) const ROOM: usize = 6;

/// A member of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    Resource(Rid),
    Server(Sid),
    Job(JobKind, Rid),
}

/// Who an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Resource(Rid),
    Participant(Pid),
    Server(Sid),
}

/// What `feel` saw last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) at: Duration,
    /// The moment PostgreSQL started, or why there was no answer.
    pub(crate) answer: Result<Duration, Outage>,
    pub(crate) absent_in_a_row: u32,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) rows: Rows,
    pub(crate) queue: Queue,
    pub(crate) cloud: Cloud,
    pub(crate) dice: Dice,
    /// Where the endpoint sends the customers of each resource.
    pub(crate) endpoint: Routes<Rid, Address>,
    pub(crate) looks: BTreeMap<Rid, Look>,
    /// Start of PostgreSQL as the last recorded event of a resource knew it.
    pub(crate) known_starts: BTreeMap<Rid, Duration>,
    /// Time-outs of agents in a row.
    pub(crate) silences: BTreeMap<Sid, u32>,
    pub(crate) alerts: BTreeSet<(Subject, Alert)>,
    pub(crate) raised: BTreeSet<Alert>,
    pub(crate) wakes_lost_permille: u64,
    pub(crate) story: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            rows: Rows::default(),
            queue: Queue::default(),
            cloud: Cloud::default(),
            dice: Dice::new(seed),
            endpoint: Routes::default(),
            looks: BTreeMap::new(),
            known_starts: BTreeMap::new(),
            silences: BTreeMap::new(),
            alerts: BTreeSet::new(),
            raised: BTreeSet::new(),
            wakes_lost_permille: 0,
            story: VecDeque::new(),
        }
    }

    /// Adds a line to the story that a failing test tells.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.story.len() == STORY_LINES {
            self.story.pop_front();
        }
        let line = format!("{:>10.3} {}", self.now.as_secs_f64(), line());
        self.story.push_back(line);
    }

    /// The last lines of the story.
    pub(crate) fn told(&self) -> String {
        self.story
            .iter()
            .flat_map(|line| {
                [
                    line.as_str(),
                    "
",
                ]
            })
            .collect()
    }

    /// Fails the test with the story if something holds that must not.
    #[track_caller]
    pub(crate) fn demand(&self, holds: bool, what: impl FnOnce() -> String) {
        assert!(holds, "{}\n{}", self.told(), what());
    }

    /// Wakes a member, unless the wake is lost.
    pub(crate) fn wake(&mut self, member: Member) {
        if !self.dice.chance(self.wakes_lost_permille) {
            self.queue.wake(member, self.now);
        }
    }

    /// Lets time pass on one server, and holds what happened there to the laws.
    pub(crate) fn pass_time_on(&mut self, server: Sid) {
        for happening in self.cloud.pass_time(server, self.now) {
            self.judge(happening);
        }
    }

    /// No data goes unless its customer asked for it, or nothing of a customer was in it yet.
    pub(crate) fn judge(&mut self, happening: Happening) {
        let Happening::DataGone {
            participant,
            database,
        } = happening;
        let Some(resource) = self.rows.resources.get(database) else {
            return;
        };
        let resource = &resource.row;
        let moved = resource.participant != Some(participant);
        self.demand(resource.life.destroy_requested || moved, || {
            format!("the data of {database:?} on {participant:?} was dropped unasked")
        });
    }

    /// Level of everything that is to be in the queue: enters what is missing, never more.
    pub(crate) fn audit(&mut self) {
        self.queue.ensure_epoch();
        let mut members: Vec<Member> = Vec::new();
        members.extend(self.rows.living_resources().map(Member::Resource));
        members.extend(self.rows.living_servers().map(Member::Server));
        members.extend(
            self.rows
                .jobs
                .iter()
                .map(|(kind, id)| Member::Job(*kind, *id)),
        );
        members.extend(
            self.cloud
                .list()
                .filter(|id| !self.rows.is_living(*id))
                .map(Member::Server),
        );
        for member in members {
            self.queue.enter(member, self.now);
        }
    }
}
