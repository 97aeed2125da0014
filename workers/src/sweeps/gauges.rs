//! Samples what is counted by looking: the fleet by state, open alerts, the rings.

use std::time::Duration;

use metrics::gauge;
use shared::db::fleet::{Count, census};
use shared::domain::{
    ArchiveAlert, GatewayAlert, JobKind, ParticipantState, ResourceState, ServerState,
};
use shared::machine::Alert;
use shared::queue::{Ring, ShardStats};
use shared::telemetry::metrics::{fleet, ring as names};

use crate::context::Context;
use crate::ring::TurnError;

/// Sets every sampled gauge, those that are zero too.
pub(super) async fn sweep(context: Context) -> Result<(), TurnError> {
    let counts = census(&context.pool).await?;
    let states = |words: &[&'static str], of: &str, name: &'static str| {
        for word in words {
            gauge!(name, "state" => *word).set(number(&counts, of, word));
        }
    };
    let words = ResourceState::ALL.iter().map(|state| state.as_str());
    states(&words.collect::<Vec<_>>(), "resource", fleet::RESOURCES);
    let words = ParticipantState::ALL.iter().map(|state| state.as_str());
    states(
        &words.collect::<Vec<_>>(),
        "participant",
        fleet::PARTICIPANTS,
    );
    let words = ServerState::ALL.iter().map(|state| state.as_str());
    states(&words.collect::<Vec<_>>(), "server", fleet::SERVERS);
    let of_machines = Alert::ALL.iter().map(|alert| alert.as_str());
    let of_the_archive = ArchiveAlert::ALL.iter().map(|alert| alert.as_str());
    let of_gateways = GatewayAlert::ALL.iter().map(|alert| alert.as_str());
    for alert in of_machines.chain(of_the_archive).chain(of_gateways) {
        gauge!(fleet::ALERTS_OPEN, "alert" => alert).set(number(&counts, "alert", alert));
    }
    for kind in JobKind::ALL {
        let dead = number(&counts, "dead job", kind.as_str());
        gauge!(names::JOBS_DEAD, "kind" => kind.as_str()).set(dead);
    }
    for ring in Ring::ALL.iter().copied() {
        sample_ring(&context, ring).await?;
    }
    Ok(())
}

fn number(counts: &[Count], of: &str, which: &str) -> f64 {
    let found = counts
        .iter()
        .find(|count| count.of == of && count.which == which);
    found.map_or(0.0, |count| whole(count.number.unsigned_abs()))
}

/// As a gauge wants it; more than four thousand million are not told apart.
fn whole(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

async fn sample_ring(context: &Context, ring: Ring) -> Result<(), TurnError> {
    let (mut size, mut due, mut leased, mut oldest) = (0, 0, 0, Duration::ZERO);
    for shard in context.queue.shards(ring) {
        let stats: ShardStats = context.queue.stats(shard).await?;
        size += stats.size;
        due += stats.due;
        leased += stats.leased;
        oldest = oldest.max(stats.oldest_due_age);
    }
    let label = ring.as_str();
    gauge!(names::RING_MEMBERS, "ring" => label).set(whole(size));
    gauge!(names::RING_DUE, "ring" => label).set(whole(due));
    gauge!(names::RING_LEASED, "ring" => label).set(whole(leased));
    gauge!(names::RING_OLDEST_DUE, "ring" => label).set(oldest.as_secs_f64());
    Ok(())
}
