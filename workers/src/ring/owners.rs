//! Which shards this worker owns: rendezvous hashing over the live workers.
//!
//! Ownership is affinity, so that a member is mostly turned by the same worker over kept
//! connections. Correctness never depends on it: whoever claims first has the lease.

use std::sync::Arc;

use shared::ids::WorkerId;
use shared::queue::Shard;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::backoff::mix;
use super::crew::Crew;
use super::metrics::Verb;

/// Heartbeats and looks at who else lives, until dropped. `live` gets the sorted live workers of
/// the ring, this one included.
pub(super) async fn run(crew: Arc<Crew>, live: watch::Sender<Vec<WorkerId>>) {
    let ttl = crew.settings.worker_ttl;
    let mut beats = tokio::time::interval(ttl / 4);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let answer = async {
            crew.queue.heartbeat(crew.ring, crew.worker, ttl).await?;
            crew.queue.live_workers(crew.ring).await
        };
        match answer.await {
            Ok(mut workers) => {
                crew.redis_answered();
                if !workers.contains(&crew.worker) {
                    workers.push(crew.worker);
                }
                workers.sort_unstable();
                own(&crew, &workers);
                live.send_if_modified(|known| {
                    let changed = *known != workers;
                    *known = workers;
                    changed
                });
            }
            Err(error) => {
                crew.redis_failed(Verb::Heartbeat, &error);
            }
        }
    }
}

fn own(crew: &Crew, workers: &[WorkerId]) {
    let owned = crew
        .schedule
        .own(|index| owner(crew.shard(index), workers) == Some(crew.worker));
    crew.metrics
        .owned
        .set(f64::from(u32::try_from(owned).unwrap_or(u32::MAX)));
}

/// The worker with the highest score for `shard`: when one leaves, only its shards move.
fn owner(shard: Shard, workers: &[WorkerId]) -> Option<WorkerId> {
    let place = shard
        .ring
        .as_str()
        .bytes()
        .fold(u64::from(shard.index), |place, byte| {
            mix(place ^ u64::from(byte))
        });
    let score = |worker: &WorkerId| {
        let (high, low) = worker.as_uuid().as_u64_pair();
        mix(mix(place ^ high) ^ low)
    };
    workers.iter().copied().max_by_key(score)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::queue::Ring;
    use uuid::Uuid;

    use super::*;

    fn shards() -> impl Iterator<Item = Shard> {
        Ring::ALL
            .into_iter()
            .flat_map(|ring| (0..64).map(move |index| Shard { ring, index }))
    }

    fn workers(count: u128) -> Vec<WorkerId> {
        (1..=count)
            .map(|id| WorkerId::from_uuid(Uuid::from_u128(id)))
            .collect()
    }

    #[test]
    fn shards_are_shared_out_evenly() {
        let workers = workers(4);
        let mut owned: BTreeMap<WorkerId, u32> = BTreeMap::new();
        for shard in shards() {
            *owned.entry(owner(shard, &workers).unwrap()).or_default() += 1;
        }
        let fair = u32::try_from(shards().count()).unwrap() / 4;
        assert!(
            owned
                .values()
                .all(|count| (fair * 5 / 8..fair * 3 / 2).contains(count)),
            "{owned:?}"
        );
    }

    #[test]
    fn when_a_worker_leaves_only_its_shards_move() {
        let before = workers(4);
        for shard in shards() {
            let owner_before = owner(shard, &before);
            let owner_after = owner(shard, &before[..3]);
            assert!(owner_before == owner_after || owner_before == Some(before[3]));
        }
        assert_eq!(owner(shards().next().unwrap(), &[]), None);
    }
}
