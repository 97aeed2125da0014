//! Stories over the in-memory world, one turn at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::domain::{JobKind, ParticipantState, ResourceState, ServerState};
use shared::machine::{Act, Alert};

use super::stories::{STORIES, Story};
use super::{Cut, Played, Stage};
use crate::machines::world::rows::Rid;
use crate::machines::world::turn::Turn;
use crate::machines::world::{Subject, World};

/// Longest a scene may take, in the time of the story.
const LIMIT: Duration = Duration::from_hours(2);

/// Time between two audits.
const AUDIT: Duration = Duration::from_secs(5);

/// How long everything must have been at rest in the end.
const REST: Duration = Duration::from_mins(3);

pub(super) struct Theatre;

/// What is left of a story.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    resources: BTreeMap<Rid, (ResourceState, bool, bool)>,
    servers: Vec<(ServerState, ParticipantState)>,
    routes: usize,
    instances: usize,
    databases: usize,
    jobs: Vec<(JobKind, Rid)>,
    alerts: Vec<(Subject, Alert)>,
}

impl Stage for Theatre {
    type End = End;

    fn stories(&self) -> usize {
        STORIES.len()
    }

    async fn play(&self, story: usize, cuts: &[(Act, Cut)]) -> Played<End> {
        assert!(cuts.len() <= 1, "one cut at a time");
        Play::new(cuts.first().copied()).through(&STORIES[story])
    }
}

struct Play {
    world: World,
    cut: Option<(Act, Cut)>,
    was_cut: bool,
    stalled: Option<Turn>,
    met: BTreeMap<Act, usize>,
    audited: Duration,
    token: u64,
}

impl Play {
    fn new(cut: Option<(Act, Cut)>) -> Self {
        let mut world = World::new(1);
        world.cloud.boot_takes = Duration::from_millis(500);
        world.cloud.work_takes = Duration::from_millis(50);
        world.audit();
        Self {
            world,
            cut,
            was_cut: false,
            stalled: None,
            met: BTreeMap::new(),
            audited: Duration::ZERO,
            token: 0,
        }
    }

    fn through(mut self, story: &Story) -> Played<End> {
        for (number, scene) in story.scenes.iter().enumerate() {
            let what = format!("{}, scene {number}, {:?}", story.title, self.cut);
            self.world.tell(|| what.clone());
            (scene.happens)(&mut self.world);
            let since = self.world.now;
            self.run_until(&what, |world| (scene.until)(world, since));
        }
        let what = format!("{}, the end, {:?}", story.title, self.cut);
        self.rest(&what);
        if let Some(mut late) = self.stalled.take() {
            self.world
                .tell(|| format!("the stalled {:?} goes on", late.claim));
            while self.world.advance(&mut late) {}
            self.rest(&what);
        }
        Played {
            end: self.end(),
            met: self.met,
            cut: self
                .cut
                .filter(|_| self.was_cut)
                .map(|(act, _)| act)
                .into_iter()
                .collect(),
        }
    }

    /// Until everything is as it was wished, and then a while longer.
    fn rest(&mut self, what: &str) {
        self.run_until(what, |world| world.unfinished().is_empty());
        let since = self.world.now;
        self.run_until(what, |world| world.now >= since + REST);
        self.run_until(what, |world| {
            world.unfinished().is_empty() && world.alerts.is_empty()
        });
    }

    fn run_until(&mut self, what: &str, goal: impl Fn(&World) -> bool) {
        let limit = self.world.now + LIMIT;
        while !goal(&self.world) {
            let next = self.world.queue.next().unwrap_or(Duration::MAX);
            let audit = self.audited + AUDIT;
            self.world.now = next.min(audit).max(self.world.now);
            if self.world.now >= audit {
                self.audited = self.world.now;
                self.world.audit();
            }
            self.token += 1;
            if let Some(claim) = self.world.queue.claim(self.world.now, self.token) {
                self.take(Turn::new(claim));
            }
            let late = self.world.now > limit;
            self.world.demand(!late, || {
                format!(
                    "{what}: not reached in {LIMIT:?}: {:#?}",
                    self.world.unfinished()
                )
            });
        }
    }

    /// Takes one turn, unless it is the one to be cut.
    fn take(&mut self, mut turn: Turn) {
        loop {
            self.world.now += Duration::from_millis(1);
            let at = turn.work().map(|work| (work.act, work.phase));
            if let Some((act, phase)) = at {
                let phases = self.met.entry(act).or_default();
                *phases = (*phases).max(phase + 1);
                if let Some((target, cut)) = self.cut
                    && target == act
                    && !self.was_cut
                    && self.is_cut_here(cut, phase, &mut turn)
                {
                    return;
                }
            }
            if !self.world.advance(&mut turn) {
                return;
            }
            if let Some((act, phase)) = at
                && self.dies_after(act, phase, &turn)
            {
                return;
            }
        }
    }

    /// Before a phase: whether the turn ends, or is laid aside, here.
    fn is_cut_here(&mut self, cut: Cut, phase: usize, turn: &mut Turn) -> bool {
        match cut {
            Cut::Dies { phases_done } if phases_done == phase => {
                self.was_cut = true;
                true
            }
            Cut::StallsUntilTheEnd { phases_done } if phases_done == phase => {
                self.was_cut = true;
                self.stalled = Some(turn.clone());
                true
            }
            Cut::Twice => {
                self.was_cut = true;
                let mut other = turn.clone();
                let (mut one_goes_on, mut other_goes_on) = (true, true);
                while one_goes_on || other_goes_on {
                    one_goes_on = one_goes_on && self.world.advance(turn);
                    other_goes_on = other_goes_on && self.world.advance(&mut other);
                }
                true
            }
            Cut::Dies { .. } | Cut::StallsUntilTheEnd { .. } => false,
        }
    }

    /// After a phase that was the act's last one: whether the turn dies before anything else.
    fn dies_after(&mut self, act: Act, phase: usize, turn: &Turn) -> bool {
        let is_over = turn.work().is_none();
        let dies = matches!(
            self.cut,
            Some((target, Cut::Dies { phases_done }))
                if target == act && phases_done == phase + 1
        );
        if is_over && dies && !self.was_cut {
            self.was_cut = true;
            return true;
        }
        false
    }

    fn end(&self) -> End {
        let world = &self.world;
        let resources = world.rows.resources.iter();
        let mut servers: Vec<_> = world
            .rows
            .servers
            .iter()
            .map(|(_, row)| {
                (
                    row.life.state,
                    world.rows.participants.row(row.participant).life.state,
                )
            })
            .collect();
        servers.sort();
        End {
            resources: resources
                .map(|(id, row)| (id, (row.life.state, row.secrets, row.participant.is_some())))
                .collect(),
            servers,
            routes: world.endpoint.in_force(),
            instances: world.cloud.list().count(),
            databases: world.cloud.databases().len(),
            jobs: world.rows.jobs.iter().copied().collect(),
            alerts: world.alerts.iter().copied().collect(),
        }
    }
}
