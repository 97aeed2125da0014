//! The lease keeper of one ring: extends leases of turns that run long, and tells turns when
//! theirs is lost.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use shared::queue::{Member, Shard, Token};
use tokio::time::{Instant, MissedTickBehavior};

use super::crew::Crew;
use super::lease::Lease;
use super::metrics::Verb;

/// Leases in one call, below the limit of the script.
const BATCH: usize = 256;

/// Runs until it is dropped.
pub(super) async fn run(crew: Arc<Crew>) {
    let lease = crew.settings.lease;
    let tick = (lease / 6).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        crew.metrics.in_flight.set(f64::from(
            u32::try_from(crew.in_flight.len()).unwrap_or(u32::MAX),
        ));
        note_lost(&crew, crew.in_flight.lose_expired(Instant::now()));
        let ending = crew
            .in_flight
            .leases_ending_before(Instant::now() + lease * 2 / 3);
        // All at a time: one slow answer after the other could outlast the leases.
        let batches = ending.iter().flat_map(|(shard, leases)| {
            leases
                .chunks(BATCH)
                .map(|batch| extend(&crew, *shard, batch))
        });
        join_all(batches).await;
    }
}

async fn extend(crew: &Crew, shard: Shard, batch: &[(Member, Token, Lease)]) {
    let pairs: Vec<_> = batch
        .iter()
        .map(|(member, token, _)| (*member, *token))
        .collect();
    let expires = Instant::now() + crew.settings.lease;
    match crew
        .queue
        .extend(shard, &pairs, crew.settings.lease, crew.worker)
        .await
    {
        Ok(replies) => {
            crew.redis_answered();
            let mut lost = 0;
            for ((_, _, lease), reply) in batch.iter().zip(replies) {
                if reply {
                    lease.extend_to(expires);
                } else {
                    lease.lose();
                    lost += 1;
                }
            }
            note_lost(crew, lost);
        }
        Err(error) => {
            crew.redis_failed(Verb::Extend, &error);
        }
    }
}

fn note_lost(crew: &Crew, lost: u64) {
    if lost > 0 {
        crew.metrics.leases_lost.increment(lost);
        tracing::warn!(
            ring = crew.label(),
            members = lost,
            "lost leases of running turns"
        );
    }
}
