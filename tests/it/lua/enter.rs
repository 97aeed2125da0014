use std::time::Duration;

use shared::queue::{BATCH_MAX, EnterReply, MemberKind, Queue, QueueConfig, Ring, WakeReply};

use super::world::{SHARD, START, World, again, resource, worker};

#[tokio::test]
async fn absent_members_wait_for_their_time() {
    let world = World::new().await;
    let members = [
        (resource(1), Duration::ZERO),
        (resource(2), Duration::from_millis(2500)),
    ];
    let reply = world.queue().enter(SHARD.ring, &members).await.unwrap();
    assert_eq!(
        reply,
        EnterReply {
            entered: 2,
            present: 0
        }
    );
    assert_eq!(world.due(resource(1)).await, Some(0));
    assert_eq!(world.due(resource(2)).await, Some(2500));
    assert_eq!(world.owner(resource(1)).await, None);
}

#[tokio::test]
async fn nothing_to_enter_changes_nothing() {
    let world = World::new().await;
    let reply = world.queue().enter(SHARD.ring, &[]).await.unwrap();
    assert_eq!(
        reply,
        EnterReply {
            entered: 0,
            present: 0
        }
    );
    assert_eq!(world.queue().stats(SHARD).await.unwrap().size, 0);
}

#[tokio::test]
async fn run_twice_it_changes_nothing() {
    let mut world = World::new().await;
    world.enter(&[(resource(1), 9)]).await;
    world.advance(Duration::from_secs(1));
    let members = [(resource(1), Duration::ZERO), (resource(1), Duration::ZERO)];
    let reply = world.queue().enter(SHARD.ring, &members).await.unwrap();
    assert_eq!(
        reply,
        EnterReply {
            entered: 0,
            present: 2
        }
    );
    assert_eq!(world.due(resource(1)).await, Some(9000));
}

#[tokio::test]
async fn a_leased_member_keeps_its_lease_and_its_mark() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0)]).await;
    world.claim_one(worker(1)).await;
    assert_eq!(
        world.queue().wake(SHARD.ring, resource(1)).await.unwrap(),
        WakeReply::Marked
    );
    let owner = world.owner(resource(1)).await;

    let members = [(resource(1), Duration::ZERO), (resource(2), Duration::ZERO)];
    let reply = world.queue().enter(SHARD.ring, &members).await.unwrap();

    assert_eq!(
        reply,
        EnterReply {
            entered: 1,
            present: 1
        }
    );
    assert_eq!(world.due(resource(1)).await, None);
    assert_eq!(world.owner(resource(1)).await, owner);
}

#[tokio::test]
async fn a_settled_member_is_present_and_a_finished_one_is_not() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0), (resource(2), 0)]).await;
    let claims = world.claim(worker(1), 2).await;
    world.settle(worker(1), &claims[0], again(5)).await;
    world
        .settle(worker(1), &claims[1], shared::queue::Outcome::Done)
        .await;
    let members = [(resource(1), Duration::ZERO), (resource(2), Duration::ZERO)];
    let reply = world.queue().enter(SHARD.ring, &members).await.unwrap();
    assert_eq!(
        reply,
        EnterReply {
            entered: 1,
            present: 1
        }
    );
}

#[tokio::test]
async fn more_than_a_batch_is_entered_in_batches_over_all_shards() {
    let world = World::new().await;
    let config = QueueConfig::single(world.server.url())
        .unwrap()
        .with_namespace("wide")
        .unwrap()
        .with_shards(3)
        .unwrap();
    let queue = Queue::connect(config).await.unwrap().at(START);
    let number = usize::from(BATCH_MAX) * 4 + 7;
    let members: Vec<_> = (0..number)
        .map(|id| (resource(u128::try_from(id).unwrap()), Duration::ZERO))
        .collect();

    let reply = queue.enter(Ring::Ring, &members).await.unwrap();

    assert_eq!(
        reply,
        EnterReply {
            entered: number,
            present: 0
        }
    );
    let mut sizes = vec![];
    for shard in queue.shards(Ring::Ring) {
        sizes.push(queue.stats(shard).await.unwrap().size);
    }
    assert_eq!(sizes.iter().sum::<u64>(), u64::try_from(number).unwrap());
    assert!(sizes.iter().all(|&size| size > 500), "{sizes:?}");
}

#[tokio::test]
async fn a_delay_beyond_all_measure_is_cut() {
    let world = World::new().await;
    let members = [(resource(1), Duration::MAX)];
    world.queue().enter(SHARD.ring, &members).await.unwrap();
    assert_eq!(world.due(resource(1)).await, Some(366 * 86_400_000));
}

#[tokio::test]
async fn the_rings_do_not_mix() {
    let world = World::new().await;
    for ring in Ring::ALL {
        for kind in MemberKind::ALL {
            let member = shared::queue::Member::new(kind, uuid::Uuid::from_u128(1));
            let members = [(member, Duration::ZERO)];
            let reply = world.queue().enter(ring, &members).await.unwrap();
            assert_eq!(reply.entered, 1, "{ring} {member}");
        }
        let shard = world.queue().shards(ring).next().unwrap();
        let kinds = u64::try_from(MemberKind::ALL.len()).unwrap();
        assert_eq!(world.queue().stats(shard).await.unwrap().size, kinds);
    }
}
