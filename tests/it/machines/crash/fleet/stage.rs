//! The fleet that stories are played on, one after the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use shared::agent_api::client::AgentAddress;
use shared::agent_api::{InstanceStatus, Phase};
use shared::clock::{Clock as _, ManualClock, SystemClock};
use shared::db::{observations, ring_epochs};
use shared::ids::{RequestId, ServerId, WorkerId};
use shared::machine::Act;
use shared::ports::MachineState;
use shared::queue::{Queue, QueueConfig, Ring};
use tests::world::{PATIENCE, World};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use workers::context::{Agents, Borders, Context, Memory};
use workers::observe::{FeelConfig, ObservationWriter, Prober, RecordConfig};
use workers::service;

use super::end::End;
use super::play::Play;
use super::scenes::Story;
use crate::machines::crash::{Cut, Played, Stage};

/// Time between two looks at something of the agents.
const LOOK: Duration = Duration::from_millis(10);

/// Most cuts of one play.
const CUTS_AT_ONCE: usize = 6;

/// What one test plays.
pub(super) struct Part {
    /// Its story.
    pub(super) story: &'static Story,
    /// The acts that it cuts.
    pub(super) cuts: fn(Act) -> bool,
}

/// A control plane with everything real.
pub(super) struct Fleet {
    pub(super) world: World,
    /// The time of rows and queue.
    pub(super) clock: ManualClock,
    part: Part,
    first: Context,
    /// What goes on beside the turns; ends with the fleet.
    _tasks: TaskTracker,
}

impl Fleet {
    pub(super) async fn start(part: Part) -> anyhow::Result<Self> {
        let mut world = World::without_workers().await?;
        let one_shard = QueueConfig::single(world.redis.url())?.with_shards(1)?;
        world.queue = Queue::connect(one_shard).await?;
        let clock = ManualClock::starting_at(SystemClock.now());
        let tasks = TaskTracker::new();
        let options = world.worker_options()?;
        let pool = service::connect(&options).await?;
        let built = service::build(&options, pool, Arc::new(clock.clone()), &tasks).await?;
        let today = clock.now().date_naive();
        for day in [today, today + TimeDelta::days(1)] {
            observations::create_partition(&world.database.pool, day).await?;
        }
        let first = Context {
            queue: world.queue.clone(),
            borders: Borders::default(),
            ..built
        };
        Ok(Self {
            world,
            clock,
            part,
            first,
            _tasks: tasks,
        })
    }

    /// A worker that remembers nothing.
    pub(super) fn worker(&self) -> Context {
        Context {
            agents: Agents::new(self.first.agents.client().clone()),
            prober: Prober::new(FeelConfig::DEFAULT),
            observations: ObservationWriter::new(RecordConfig::DEFAULT),
            memory: Arc::new(Memory::default()),
            worker: WorkerId::new(),
            ..self.first.clone()
        }
    }

    /// The queue at the time of the story.
    pub(super) fn queue(&self) -> Queue {
        let now = self.clock.now().timestamp_millis();
        self.world.queue.at(u64::try_from(now).unwrap_or_default())
    }

    /// Nothing is left of the story before, and the rings begin.
    async fn empty(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        for server in self.first.provider.list().await? {
            while self.first.provider.destroy(server).await?.state != MachineState::Absent {
                if begun.elapsed() > PATIENCE {
                    bail!("{server} is not destroyed");
                }
                sleep(LOOK).await;
            }
        }
        let pool = &self.world.database.pool;
        sqlx::query(
            "truncate resources, participants, servers, timelines, operations, idempotency_keys,
                 jobs, transitions, alerts, observations, observation_history, epochs, gaps, backups,
                 forks, restores, proofs, routes, gateways",
        )
        .execute(pool)
        .await?;
        self.world.redis.flush().await?;
        let epoch = ring_epochs::next(pool).await?;
        for ring in Ring::ALL.iter().copied() {
            for shard in self.world.queue.shards(ring) {
                self.world.queue.begin(shard, epoch).await?;
            }
        }
        Ok(())
    }

    /// Servers that have an agent which should answer.
    async fn agents(&self) -> anyhow::Result<Vec<AgentAddress>> {
        let query = "select id, host, agent_port from servers
                     where state in ('booting', 'ready', 'unreachable') and host is not null";
        let rows: Vec<(uuid::Uuid, String, i32)> = sqlx::query_as(query)
            .fetch_all(&self.world.database.pool)
            .await?;
        rows.into_iter()
            .map(|(id, host, port)| {
                Ok(AgentAddress {
                    server: ServerId::from_uuid(id),
                    address: format!("{host}:{port}").parse()?,
                })
            })
            .collect()
    }

    /// Waits until no agent has anything to do.
    pub(super) async fn let_agents_rest(&self) -> anyhow::Result<()> {
        for agent in self.agents().await? {
            self.until_agent(agent, rests).await?;
        }
        Ok(())
    }

    /// Waits until the status of an agent is as wished; answers it.
    pub(super) async fn until_agent(
        &self,
        agent: AgentAddress,
        wished: impl Fn(&InstanceStatus) -> bool,
    ) -> anyhow::Result<InstanceStatus> {
        let begun = Instant::now();
        loop {
            let asked = self.first.agents.client();
            let status = asked.status(agent, RequestId::new()).await;
            match status {
                Ok(status) if wished(&status) => return Ok(status),
                status if begun.elapsed() > PATIENCE => {
                    bail!(
                        "the agent of {} does not come to rest: {status:?}",
                        agent.server
                    )
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// The agent of the only server that lives.
    pub(super) async fn agent(&self) -> anyhow::Result<AgentAddress> {
        let agents = self.agents().await?;
        agents.into_iter().next().context("a server lives")
    }

    /// Servers that the provider has.
    pub(super) async fn machines(&self) -> anyhow::Result<Vec<ServerId>> {
        Ok(self.first.provider.list().await?)
    }

    /// Directory of all servers.
    pub(super) fn servers(&self) -> PathBuf {
        self.world.servers()
    }
}

/// Nothing that was asked of the agent is still to come.
pub(super) fn rests(status: &InstanceStatus) -> bool {
    status.converged_generation == status.generation
        && match status.phase {
            Phase::Empty | Phase::Stopped | Phase::Removed => true,
            Phase::Running => status.postgres.is_some(),
            Phase::Creating | Phase::Starting | Phase::Stopping => false,
        }
}

impl Stage for Fleet {
    type End = End;

    fn stories(&self) -> usize {
        1
    }

    fn cuts_at_once(&self) -> usize {
        CUTS_AT_ONCE
    }

    fn cuts(&self, _story: usize, act: Act) -> bool {
        (self.part.cuts)(act)
    }

    async fn play(&self, _story: usize, cuts: &[(Act, Cut)]) -> Played<End> {
        if let Err(error) = self.empty().await {
            panic!("the story before does not go away: {error:#}");
        }
        let mut play = Play::new(self, cuts);
        if let Err(error) = play.through(self.part.story).await {
            panic!("{cuts:?}: {error:#}\n{}", play.told().await);
        }
        play.played().await.expect("the end can be seen")
    }
}
