//! After an outage: all members of the ring are due at once, while the urgent ring goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;
use shared::queue::{Member, Outcome, Ring};
use tokio::time::{Instant, sleep};
use workers::ring::{Failure, Handler, Turn, TurnError};

use super::Options;
use super::scene::{Roster, Scene, float, members};
use crate::progress::Progress;
use crate::report::{Bar, Report};

/// Members of the urgent ring.
const URGENT: usize = 500;

/// Their cadence.
const CADENCE: Duration = Duration::from_millis(500);

/// How long one turn takes.
const TURN: Duration = Duration::from_millis(2);

/// The next lap, which does not begin during the measurement.
const LATER: Duration = Duration::from_hours(1);

/// Longest time for the lap.
const PATIENCE: Duration = Duration::from_mins(10);

struct Lap {
    /// Turns of each member of the ring.
    turns: HashMap<Member, AtomicU64>,
    turned: AtomicU64,
    failures: AtomicU64,
    urgent_overdue_ms: Mutex<Histogram<u64>>,
}

impl Handler for Lap {
    async fn turn(&self, turn: &Turn) -> Result<Outcome, TurnError> {
        sleep(TURN).await;
        if turn.claim().shard.ring == Ring::Urgent {
            let mut overdue = self
                .urgent_overdue_ms
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            overdue.saturating_record(turn.claim().overdue_ms);
            return Ok(Outcome::Again(CADENCE));
        }
        if let Some(turns) = self.turns.get(&turn.member()) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
        self.turned.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Again(LATER))
    }

    async fn failed(&self, _turn: &Turn, _failure: &Failure) -> Outcome {
        self.failures.fetch_add(1, Ordering::Relaxed);
        Outcome::Again(LATER)
    }
}

pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    let ring = members(options.members);
    let goal = u64::try_from(options.members)?;
    scene.fill(Ring::Ring, &ring, Duration::ZERO).await?;
    scene.fill(Ring::Urgent, &members(URGENT), CADENCE).await?;
    let lap = Arc::new(Lap {
        turns: ring
            .iter()
            .map(|member| (*member, AtomicU64::new(0)))
            .collect(),
        turned: AtomicU64::new(0),
        failures: AtomicU64::new(0),
        urgent_overdue_ms: Mutex::new(Histogram::new(3)?),
    });
    let progress = Progress::begin(format!("{goal} members due at once"), goal);
    let begun = Instant::now();
    let workers = scene
        .start(options, &Ring::ALL, &lap, &Roster::empty())
        .await?;
    while lap.turned.load(Ordering::Relaxed) < goal {
        progress.at(lap.turned.load(Ordering::Relaxed));
        ensure!(
            begun.elapsed() < PATIENCE,
            "the lap did not end within {PATIENCE:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    workers.stop().await?;
    scene.redis.stop().await?;
    progress.end(&format!("{elapsed:.1} s"));

    let times = |wanted: fn(u64) -> bool| {
        float(
            lap.turns
                .values()
                .filter(|turns| wanted(turns.load(Ordering::Relaxed)))
                .count(),
        )
    };
    let overdue = lap
        .urgent_overdue_ms
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    report.note("outage: time until all were turned", elapsed, "s");
    report.judge(
        "outage: members not turned",
        times(|turns| turns == 0),
        "",
        Bar::AtMost(0.0),
    );
    report.judge(
        "outage: members turned twice",
        times(|turns| turns > 1),
        "",
        Bar::AtMost(0.0),
    );
    let failures = float(lap.failures.load(Ordering::Relaxed));
    report.judge("outage: failed turns", failures, "", Bar::AtMost(0.0));
    report.note("outage: urgent turns meanwhile", float(overdue.len()), "");
    let p99 = float(overdue.value_at_quantile(0.99));
    report.judge(
        "outage: urgent members overdue, p99",
        p99,
        "ms",
        Bar::AtMost(1000.0),
    );
    Ok(())
}
