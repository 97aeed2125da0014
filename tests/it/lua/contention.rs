//! Many workers at one shard: no member is in two hands, and none is lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::ids::WorkerId;
use shared::queue::{ClaimReply, Member, Outcome, Queue, QueueConfig, SettleReply, Settlement};
use tokio::task::JoinSet;

use super::world::{SHARD, World, resource, worker};

const MEMBERS: u128 = 3000;
const WORKERS: u128 = 4;

/// What the workers know of each other.
#[derive(Default)]
struct Hands {
    held: BTreeSet<Member>,
    done: BTreeSet<Member>,
}

/// Claims and finishes until everything is done; each member is woken once by its first turn, so
/// that it takes two.
async fn work(queue: Queue, me: WorkerId, hands: Arc<Mutex<Hands>>) {
    let mut woken = BTreeSet::new();
    while hands.lock().unwrap().done.len() < usize::try_from(MEMBERS).unwrap() {
        let reply = queue
            .claim(SHARD, 37, Duration::from_mins(10), me)
            .await
            .unwrap();
        let ClaimReply::Claims { claims, .. } = reply else {
            panic!("there is a ring");
        };
        for claim in &claims {
            assert!(
                hands.lock().unwrap().held.insert(claim.member),
                "in two hands: {claim:?}"
            );
        }
        for claim in claims.iter().step_by(3) {
            if woken.insert(claim.member) {
                queue.wake(SHARD.ring, claim.member).await.unwrap();
            }
        }
        let settlements: Vec<_> = claims
            .iter()
            .map(|claim| Settlement {
                member: claim.member,
                token: claim.token,
                outcome: Outcome::Done,
            })
            .collect();
        for claim in &claims {
            hands.lock().unwrap().held.remove(&claim.member);
        }
        let replies = queue.settle(SHARD, &settlements, me).await.unwrap();
        for (claim, reply) in claims.iter().zip(replies) {
            match reply {
                SettleReply::Settled => {
                    assert!(
                        hands.lock().unwrap().done.insert(claim.member),
                        "done twice"
                    );
                }
                SettleReply::Woken => {}
                SettleReply::Lost => panic!("nobody else may settle {claim:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_connections_of_their_own_share_a_shard_out() {
    let world = World::new().await;
    let members: Vec<_> = (0..MEMBERS)
        .map(|id| (resource(id), Duration::ZERO))
        .collect();
    world.real().enter(SHARD.ring, &members).await.unwrap();
    let hands = Arc::new(Mutex::new(Hands::default()));
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let config = QueueConfig::single(world.server.url())
            .unwrap()
            .with_shards(1)
            .unwrap();
        let queue = Queue::connect(config).await.unwrap();
        workers.spawn(work(queue, worker(number), Arc::clone(&hands)));
    }
    workers.join_all().await;
    let stats = world.real().stats(SHARD).await.unwrap();
    assert_eq!(stats.size, 0);
}
