//! From a wake until the turn starts, on an idle system.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use shared::queue::{Member, Outcome, Ring};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use workers::ring::{Handler, Turn, TurnError};

use super::Options;
use super::scene::{Roster, Scene, float, members};
use crate::progress::Progress;
use crate::report::{Bar, Report};

/// Members that wait meanwhile.
const MEMBERS: usize = 10_000;

/// No member becomes due by itself.
const LATER: Duration = Duration::from_hours(1);

/// Pause between wakes, so that the system is idle again.
const PAUSE: Duration = Duration::from_millis(15);

/// Tells when each turn starts.
struct Telling(mpsc::UnboundedSender<(Member, Instant)>);

impl Handler for Telling {
    async fn turn(&self, turn: &Turn) -> Result<Outcome, TurnError> {
        self.0.send((turn.member(), Instant::now()))?;
        Ok(Outcome::Again(LATER))
    }
}

pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    let members = members(MEMBERS);
    scene.fill(Ring::Ring, &members, LATER).await?;
    let (sender, mut starts) = mpsc::unbounded_channel();
    let workers = scene
        .start(
            options,
            &Ring::ALL,
            &Arc::new(Telling(sender)),
            &Roster::empty(),
        )
        .await?;
    sleep(Duration::from_secs(2)).await;

    let progress = Progress::begin("wakes", u64::try_from(options.wakes)?);
    let mut latencies = Histogram::<u64>::new(3)?;
    for (count, member) in members
        .iter()
        .step_by(7)
        .cycle()
        .take(options.wakes)
        .enumerate()
    {
        let woken = Instant::now();
        scene.queue.wake(Ring::Ring, *member).await?;
        let patience = Duration::from_secs(10);
        let start = timeout(patience, starts.recv())
            .await
            .context("wait for a turn")?;
        let (turned, started) = start.context("hear from the worker")?;
        anyhow::ensure!(turned == *member, "another member was turned");
        latencies.record(u64::try_from((started - woken).as_micros())?)?;
        progress.at(u64::try_from(count)?);
        sleep(PAUSE).await;
    }
    workers.stop().await?;
    scene.redis.stop().await?;
    let milliseconds = |quantile| float(latencies.value_at_quantile(quantile)) / 1000.0;
    progress.end(&format!("p99 {:.2} ms", milliseconds(0.99)));
    report.note("wake until its turn starts, p50", milliseconds(0.5), "ms");
    report.judge(
        "wake until its turn starts, p99",
        milliseconds(0.99),
        "ms",
        Bar::AtMost(25.0),
    );
    Ok(())
}
