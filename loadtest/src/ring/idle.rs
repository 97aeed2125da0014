//! What a worker costs that has nothing to do: all rings, and members that are due much later.

use std::sync::Arc;
use std::time::Duration;

use shared::queue::{Outcome, Ring};
use tokio::time::{Instant, sleep};
use workers::ring::{Handler, Turn, TurnError};

use super::Options;
use super::scene::{Roster, Scene, members};
use crate::cpu;
use crate::progress::Progress;
use crate::report::{Bar, Report};

const LATER: Duration = Duration::from_hours(1);

struct Resting;

impl Handler for Resting {
    async fn turn(&self, _turn: &Turn) -> Result<Outcome, TurnError> {
        Ok(Outcome::Again(LATER))
    }
}

pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    scene
        .fill(Ring::Ring, &members(options.members), LATER)
        .await?;
    for ring in [Ring::Urgent, Ring::Jobs, Ring::Archive] {
        scene.fill(ring, &[], LATER).await?;
    }
    let options = Options {
        workers: 1,
        ..options.clone()
    };
    let workers = scene
        .start(&options, &Ring::ALL, &Arc::new(Resting), &Roster::empty())
        .await?;
    sleep(Duration::from_secs(3)).await;

    let progress = Progress::begin("idle worker", 0);
    let (own, redis) = (std::process::id(), scene.redis.pid());
    let (own_before, redis_before) = (cpu::time_of(own)?, cpu::time_of(redis)?);
    let begun = Instant::now();
    sleep(Duration::from_secs(options.seconds.max(10))).await;
    let elapsed = begun.elapsed().as_secs_f64();
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / elapsed;
    let worker = percent(cpu::time_of(own)?.saturating_sub(own_before));
    let server = percent(cpu::time_of(redis)?.saturating_sub(redis_before));
    workers.stop().await?;
    scene.redis.stop().await?;
    progress.end(&format!("{worker:.2} % of a core"));
    report.judge(
        "idle worker, all rings",
        worker,
        "% of a core",
        Bar::AtMost(2.0),
    );
    report.note("Redis under an idle worker", server, "% of a core");
    Ok(())
}
