//! From `FLUSHALL` until the ring is whole again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use shared::queue::{Outcome, Ring};
use tokio::time::{Instant, sleep};
use workers::ring::{Handler, Turn, TurnError};

use super::Options;
use super::scene::{Roster, Scene, members};
use crate::progress::Progress;
use crate::report::{Bar, Report};

/// No member becomes due meanwhile.
const LATER: Duration = Duration::from_hours(1);

struct Resting;

impl Handler for Resting {
    async fn turn(&self, _turn: &Turn) -> Result<Outcome, TurnError> {
        Ok(Outcome::Again(LATER))
    }
}

pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    let mut members = members(options.members);
    members.sort_unstable();
    scene.fill(Ring::Ring, &members, LATER).await?;
    let roster = Arc::new(Roster {
        members,
        due_in: LATER,
    });
    let workers = scene
        .start(options, &[Ring::Ring], &Arc::new(Resting), &roster)
        .await?;
    sleep(Duration::from_secs(2)).await;

    let progress = Progress::begin("rebuild after FLUSHALL", 0);
    scene.redis.command::<String>(&["FLUSHALL"]).await?;
    let begun = Instant::now();
    while !is_whole(&scene, options.members).await? {
        ensure!(
            begun.elapsed() < Duration::from_mins(2),
            "the ring was not rebuilt"
        );
        sleep(Duration::from_millis(10)).await;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    workers.stop().await?;
    scene.redis.stop().await?;
    progress.end(&format!("{elapsed:.2} s"));
    report.judge(
        "ring whole again after FLUSHALL",
        elapsed,
        "s",
        Bar::AtMost(10.0),
    );
    Ok(())
}

async fn is_whole(scene: &Scene, members: usize) -> anyhow::Result<bool> {
    let mut size = 0;
    for shard in scene.queue.shards(Ring::Ring) {
        let stats = scene.queue.stats(shard).await?;
        if stats.epoch.is_none() {
            return Ok(false);
        }
        size += stats.size;
    }
    Ok(size >= u64::try_from(members)?)
}
