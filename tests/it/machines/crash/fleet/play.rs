//! One story on a real fleet, turn by turn.

mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use shared::clock::{Clock as _, SystemClock};
use shared::domain::ResourceState;
use shared::ids::ResourceId;
use shared::machine::Act;
use shared::process::Signal;
use shared::queue::{Claim, ClaimReply, Ring};
use sqlx::Executor as _;
use workers::context::Context;
use workers::sweeps;

use super::end::{self, End};
use super::going::Going;
use super::scenes::{Scene, Story};
use super::stage::{Fleet, rests};
use crate::machines::crash::{Cut, Played};

/// Longest a scene may take, in the time of the story.
const LIMIT: TimeDelta = TimeDelta::minutes(30);

/// Time between two audits.
const AUDIT: TimeDelta = TimeDelta::seconds(15);

/// How long everything must have been at rest in the end.
const REST: TimeDelta = TimeDelta::minutes(1);

/// Lease of a claim.
const LEASE: TimeDelta = TimeDelta::seconds(10);

/// What a scene waits for.
enum Goal {
    /// A resource is in a state.
    State(ResourceId, ResourceState),
    /// An event was recorded in the story of a resource.
    Event(ResourceId, &'static str),
    /// The clock shows at least this.
    Time(DateTime<Utc>),
    /// Nothing is unfinished.
    AllIsDone,
}

pub(super) struct Play<'f> {
    pub(super) fleet: &'f Fleet,
    pub(super) names: BTreeMap<&'static str, ResourceId>,
    worker: Context,
    cuts: BTreeMap<Act, Cut>,
    cut: BTreeSet<Act>,
    stalled: Vec<Going>,
    met: BTreeMap<Act, usize>,
    audited: DateTime<Utc>,
    turns: Vec<String>,
}

impl<'f> Play<'f> {
    pub(super) fn new(fleet: &'f Fleet, cuts: &[(Act, Cut)]) -> Self {
        Self {
            fleet,
            names: BTreeMap::new(),
            worker: fleet.worker(),
            cuts: cuts.iter().copied().collect(),
            cut: BTreeSet::new(),
            stalled: Vec::new(),
            met: BTreeMap::new(),
            audited: DateTime::UNIX_EPOCH,
            turns: Vec::new(),
        }
    }

    /// From the first scene to the end, and then what was stalled goes on.
    pub(super) async fn through(&mut self, story: &Story) -> anyhow::Result<()> {
        for scene in story {
            self.turns.push(format!("{scene:?}"));
            self.happens(*scene)
                .await
                .with_context(|| format!("{scene:?}"))?;
        }
        self.rest().await?;
        let stalled = std::mem::take(&mut self.stalled);
        if stalled.is_empty() {
            return Ok(());
        }
        for late in stalled {
            self.finish_late(late).await?;
        }
        self.rest().await
    }

    pub(super) async fn played(&self) -> anyhow::Result<Played<End>> {
        Ok(Played {
            end: end::see(self).await?,
            met: self.met.clone(),
            cut: self.cut.clone(),
        })
    }

    /// What happened, for a test that fails.
    pub(super) async fn told(&self) -> String {
        let rows = match self.names.values().next() {
            Some(id) => self.fleet.world.story(*id).await,
            None => Ok(String::new()),
        };
        let rows = rows.unwrap_or_else(|error| format!("{error:#}"));
        format!("{}\n{rows}", self.turns.join("\n"))
    }

    async fn happens(&mut self, scene: Scene) -> anyhow::Result<()> {
        let world = &self.fleet.world;
        match scene {
            Scene::Create { name, plan } => {
                let id = world.create(name, plan).await?;
                self.names.insert(name, id);
                self.run_until(Goal::State(id, ResourceState::Available))
                    .await?;
                let mut customer = self.fleet.world.connect(id).await?;
                let row = "create table orders (id int); insert into orders values (7)";
                customer.execute(row).await?;
            }
            Scene::KillPostmaster { name } => {
                let id = self.names[name];
                let agent = self.fleet.agent().await?;
                let before = self.fleet.until_agent(agent, rests).await?;
                self.fleet
                    .world
                    .postmaster(agent.server)?
                    .signal(Signal::KILL)?;
                let again = |now: &_| rests(now) && now.crashes > before.crashes;
                self.fleet.until_agent(agent, again).await?;
                self.run_until(Goal::Event(id, "crash_seen")).await?;
                self.run_until(Goal::Event(id, "restart_seen")).await?;
            }
            Scene::Destroy { name } => {
                let id = self.names[name];
                world.destroy(id).await?;
                self.run_until(Goal::State(id, ResourceState::Deprovisioned))
                    .await?;
            }
        }
        Ok(())
    }

    /// Until everything is as it was wished, and then a while longer.
    async fn rest(&mut self) -> anyhow::Result<()> {
        self.run_until(Goal::AllIsDone).await?;
        self.run_until(Goal::Time(self.fleet.clock.now() + REST))
            .await?;
        self.run_until(Goal::AllIsDone).await
    }

    async fn run_until(&mut self, goal: Goal) -> anyhow::Result<()> {
        let limit = self.fleet.clock.now() + LIMIT;
        while !self.is_reached(&goal).await? {
            ensure!(self.fleet.clock.now() < limit, "not reached in {LIMIT}");
            self.keep_up();
            self.fleet.let_agents_rest().await?;
            if self.fleet.clock.now() >= self.audited + AUDIT {
                self.audited = self.fleet.clock.now();
                let context = self.context();
                sweeps::audit(context.clone())
                    .await
                    .map_err(anyhow::Error::from_boxed)?;
                sweeps::leftovers(context)
                    .await
                    .map_err(anyhow::Error::from_boxed)?;
            }
            match self.claim(&self.worker).await? {
                Ok(claim) => {
                    let going = Going::new(&self.context(), claim);
                    self.take(going).await?;
                }
                Err(next) => {
                    let audit = self.audited + AUDIT - self.fleet.clock.now();
                    let next = next.map_or(audit, |next| audit.min(next));
                    self.pass(next.max(TimeDelta::milliseconds(1)));
                }
            }
        }
        Ok(())
    }

    /// The worker as it is now, with the queue at the present time.
    fn context(&self) -> Context {
        Context {
            queue: self.fleet.queue(),
            ..self.worker.clone()
        }
    }

    async fn is_reached(&self, goal: &Goal) -> anyhow::Result<bool> {
        let pool = &self.fleet.world.database.pool;
        Ok(match goal {
            Goal::State(id, state) => self.fleet.world.row(*id).await?.state == *state,
            Goal::Event(id, event) => {
                let events = self.fleet.world.events(*id).await?;
                events.iter().any(|seen| seen == event)
            }
            Goal::Time(at) => self.fleet.clock.now() >= *at,
            Goal::AllIsDone => end::unfinished(pool).await? == 0,
        })
    }

    /// One claim: what is due, or the time until something is.
    async fn claim(&self, worker: &Context) -> anyhow::Result<Result<Claim, Option<TimeDelta>>> {
        let queue = self.fleet.queue();
        let mut next: Option<Duration> = None;
        for ring in [Ring::Urgent, Ring::Jobs, Ring::Ring] {
            for shard in queue.shards(ring) {
                let reply = queue
                    .claim(shard, 1, LEASE.to_std()?, worker.worker)
                    .await?;
                let ClaimReply::Claims { claims, next_due } = reply else {
                    bail!("{ring} is missing");
                };
                if let Some(claim) = claims.into_iter().next() {
                    return Ok(Ok(claim));
                }
                next = [next, next_due].into_iter().flatten().min();
            }
        }
        Ok(Err(next.map(TimeDelta::from_std).transpose()?))
    }

    /// Time passes.
    fn pass(&self, time: TimeDelta) {
        self.fleet.clock.advance(time);
    }

    /// The time of the story is never behind that of the machine, which agents live in.
    fn keep_up(&self) {
        let behind = SystemClock.now() - self.fleet.clock.now();
        self.pass(behind.max(TimeDelta::zero()));
    }
}
