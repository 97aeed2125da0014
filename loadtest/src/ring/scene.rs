//! What all parts need: a Redis, members, workers with a handler, and the wait for a condition.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shared::ids::{ResourceId, WorkerId};
use shared::queue::{Member, MemberKind, Queue, QueueConfig, Ring};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use workers::ring::{Handler, Rebuild, RebuildError, RingWorker, Settings};

use super::Options;
use crate::redis_process::RedisProcess;

/// Members given to one call of `enter`.
const BATCH: usize = 10_000;

/// A Redis with one queue.
pub(super) struct Scene {
    pub(super) redis: RedisProcess,
    pub(super) queue: Queue,
}

impl Scene {
    pub(super) async fn set() -> anyhow::Result<Self> {
        let redis = RedisProcess::start().await?;
        let queue = connect(&redis).await?;
        Ok(Self { redis, queue })
    }

    /// Fills `ring` and opens it.
    pub(super) async fn fill(
        &self,
        ring: Ring,
        members: &[Member],
        due_in: Duration,
    ) -> anyhow::Result<()> {
        for batch in members.chunks(BATCH) {
            let batch: Vec<_> = batch.iter().map(|member| (*member, due_in)).collect();
            self.queue.enter(ring, &batch).await?;
        }
        for shard in self.queue.shards(ring) {
            self.queue.begin(shard, 1).await?;
        }
        Ok(())
    }

    /// Starts the workers of `options`, each with a connection of its own.
    pub(super) async fn start<H: Handler, R: Rebuild>(
        &self,
        options: &Options,
        rings: &[Ring],
        handler: &Arc<H>,
        source: &Arc<R>,
    ) -> anyhow::Result<Workers> {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for _ in 0..options.workers {
            let worker = RingWorker {
                queue: connect(&self.redis).await?,
                worker: WorkerId::new(),
                settings: Settings {
                    rings: rings.to_vec(),
                    in_flight: options.in_flight,
                    claim_batch: options.claim_batch,
                    lanes: options.lanes,
                    ..Settings::default()
                },
                handler: Arc::clone(handler),
                source: Arc::clone(source),
            };
            tasks.spawn(worker.run(stop.clone()));
        }
        Ok(Workers { stop, tasks })
    }
}

async fn connect(redis: &RedisProcess) -> anyhow::Result<Queue> {
    Ok(Queue::connect(QueueConfig::single(redis.url())?).await?)
}

/// Running workers.
pub(super) struct Workers {
    stop: CancellationToken,
    tasks: JoinSet<Result<(), workers::ring::RingError>>,
}

impl Workers {
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("join a worker")??;
        }
        Ok(())
    }
}

/// New members.
pub(super) fn members(count: usize) -> Vec<Member> {
    let member = |_| Member::new(MemberKind::Resource, ResourceId::new().as_uuid());
    (0..count).map(member).collect()
}

/// The members of a ring as a control database would know them; ordered.
pub(super) struct Roster {
    pub(super) members: Vec<Member>,
    pub(super) due_in: Duration,
}

impl Roster {
    /// For parts in which nothing is rebuilt.
    pub(super) fn empty() -> Arc<Self> {
        Arc::new(Self {
            members: Vec::new(),
            due_in: Duration::ZERO,
        })
    }
}

impl Rebuild for Roster {
    async fn begin_epoch(&self) -> Result<u64, RebuildError> {
        Ok(2)
    }

    async fn page(
        &self,
        _: Ring,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Duration)>, RebuildError> {
        let from = after.map_or(0, |after| {
            self.members.partition_point(|member| *member <= after)
        });
        let page = self.members.iter().skip(from).take(limit);
        Ok(page.map(|member| (*member, self.due_in)).collect())
    }
}

/// A count as a number of a report.
pub(super) fn float(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}
