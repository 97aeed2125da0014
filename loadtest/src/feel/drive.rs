//! Looks at an even pace, and what they cost.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use shared::clock::{Clock as _, SystemClock};
use shared::domain::{Observation, ParticipantState, ResourceState, ServerState};
use shared::machine::Machine as _;
use shared::machine::resource::{
    AgentView, Attached, DiskView, Driver, EndpointView, Facts, Instruction, Resource, Seen, Source,
};
use shared::telemetry::metrics::fleet::OBSERVE_CONNECTIONS_OPENED;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use workers::observe::{FeelConfig, ObservationWriter, Prober, RecordConfig, Target};

use super::Scene;
use crate::progress::Progress;

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Looks in a second.
    pub(super) rate: u32,
    pub(super) time: Duration,
}

impl Pace {
    /// Looks in all.
    pub(super) fn looks(self) -> u64 {
        u64::from(self.rate) * self.time.as_secs()
    }
}

/// What one look costs, on average.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) looks: u64,
    pub(super) worker_us: f64,
    pub(super) postgres_ms: f64,
    /// Connections opened in all.
    pub(super) opened: f64,
    pub(super) answer_ms_p50: f64,
    pub(super) answer_ms_p99: f64,
}

/// Looks for the time of `pace`, one database after the other. Any look that finds its service
/// absent is an error.
pub(super) async fn run(
    scene: &Scene,
    config: FeelConfig,
    shared: bool,
    progress: &Progress,
) -> anyhow::Result<Cost> {
    let pace = scene.pace;
    let worker = Worker {
        prober: Prober::new(config),
        writer: ObservationWriter::new(RecordConfig::default()),
    };
    let stop = CancellationToken::new();
    let mut writing = JoinSet::new();
    let (writer, pool, stopped) = (
        worker.writer.clone(),
        scene.customers.control_pool.clone(),
        stop.clone(),
    );
    writing.spawn(async move { writer.run(&pool, stopped).await });

    let targets = scene.customers.targets(shared);
    // Twice, so that every session has made its plans.
    for target in targets.iter().chain(&targets) {
        worker.turn(target).await?;
    }
    let before = Meter::read(scene)?;
    let mut answers = Histogram::<u64>::new(3)?;
    let mut turns = JoinSet::new();
    let mut clock = interval(Duration::from_secs(1) / pace.rate);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let until = Instant::now() + pace.time;
    let mut looks = 0;
    for target in targets.iter().cycle() {
        if clock.tick().await >= until {
            break;
        }
        let (worker, target) = (worker.clone(), target.clone());
        turns.spawn(async move { worker.turn(&target).await });
        looks += 1;
        while let Some(turned) = turns.try_join_next() {
            answers.record(turned??)?;
        }
        progress.at(looks);
    }
    while let Some(turned) = turns.join_next().await {
        answers.record(turned??)?;
    }
    let after = Meter::read(scene)?;
    stop.cancel();
    while writing.join_next().await.is_some() {}
    worker.prober.close_idle(Duration::ZERO).await;
    after.since(&before, looks, &answers)
}

/// One worker's side of it.
#[derive(Clone)]
struct Worker {
    prober: Prober,
    writer: ObservationWriter,
}

impl Worker {
    /// Looks, decides and records; gives the time until the answer in microseconds.
    async fn turn(&self, target: &Target) -> anyhow::Result<u64> {
        let seen = self.prober.feel(target, None, SystemClock.now()).await;
        let decision = Resource::decide(&facts(&seen, target));
        ensure!(
            seen.available && decision.event.is_none(),
            "a look at {} found {:?}, which is decided as {decision:?}",
            target.database,
            seen.outage
        );
        self.writer.record(target.resource, &seen);
        let answer = Duration::try_from_secs_f64(seen.response_ms.unwrap_or_default() / 1000.0)?;
        Ok(u64::try_from(answer.as_micros())?)
    }
}

/// A resource in steady state.
fn facts(seen: &Observation, target: &Target) -> Facts {
    Facts {
        driver: Driver::Ring,
        state: ResourceState::Available,
        time_in_state: Duration::from_hours(1),
        deadline_passed: false,
        destroy_requested: false,
        cadence: Duration::from_secs(10),
        dedicated: !target.shared,
        secrets_made: true,
        source: Source::Empty,
        attached: Some(Attached {
            participant: ParticipantState::Serving,
            destroy_requested: false,
            server: ServerState::Ready,
            instruction: Instruction::Acknowledged,
            agent: AgentView::NotAsked,
            restart_asked_ago: None,
        }),
        endpoint: EndpointView::Pointed,
        seen: match seen.outage {
            None => Seen::Answers { restarted: false },
            Some(outage) => Seen::Absent {
                outage,
                in_a_row: 1,
            },
        },
        disk: DiskView::Unknown,
    }
}

/// What was used and done until a moment.
struct Meter {
    worker: Duration,
    postgres: Duration,
    opened: f64,
}

impl Meter {
    fn read(scene: &Scene) -> anyhow::Result<Self> {
        let mut postgres = Duration::ZERO;
        for pid in scene.customers.server.processes()? {
            postgres += time_on_processor(pid)?;
        }
        let opened = scene
            .metrics
            .render()
            .lines()
            .filter(|line| line.starts_with(OBSERVE_CONNECTIONS_OPENED))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum();
        Ok(Self {
            worker: time_on_processor(std::process::id())?,
            postgres,
            opened,
        })
    }

    fn since(self, before: &Self, looks: u64, answers: &Histogram<u64>) -> anyhow::Result<Cost> {
        let count = f64::from(u32::try_from(looks).context("count the looks")?);
        ensure!(count > 0.0, "there was no look");
        let milliseconds = |quantile| {
            let microseconds = answers.value_at_quantile(quantile);
            u32::try_from(microseconds).map(|microseconds| f64::from(microseconds) / 1000.0)
        };
        Ok(Cost {
            looks,
            worker_us: self.worker.saturating_sub(before.worker).as_secs_f64() * 1e6 / count,
            postgres_ms: self.postgres.saturating_sub(before.postgres).as_secs_f64() * 1e3 / count,
            opened: self.opened - before.opened,
            answer_ms_p50: milliseconds(0.5)?,
            answer_ms_p99: milliseconds(0.99)?,
        })
    }
}

/// Time that the living threads of a process were on a processor, to the nanosecond (the times in
/// `/proc/<pid>/stat` come in steps of 10 ms, too coarse for so many processes).
pub(super) fn time_on_processor(pid: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context("list the threads")?;
    for thread in threads {
        let path = thread.context("list the threads")?.path().join("schedstat");
        // A thread may end while we read.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let first = text.split_whitespace().next().unwrap_or_default();
        nanoseconds += first
            .parse::<u64>()
            .with_context(|| format!("read {}", path.display()))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
