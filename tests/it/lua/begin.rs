use shared::queue::{BeginReply, SettleReply};

use super::world::{SHARD, World, again, resource, worker};

#[tokio::test]
async fn an_epoch_opens_once_and_only_grows() {
    let world = World::without_ring().await;
    let queue = world.queue();
    assert_eq!(queue.begin(SHARD, 7).await.unwrap(), BeginReply::Begun);
    assert_eq!(
        queue.begin(SHARD, 7).await.unwrap(),
        BeginReply::Refused { present: 7 }
    );
    assert_eq!(
        queue.begin(SHARD, 6).await.unwrap(),
        BeginReply::Refused { present: 7 }
    );
    assert_eq!(queue.begin(SHARD, 10).await.unwrap(), BeginReply::Begun);
    assert_eq!(
        queue.begin(SHARD, 9).await.unwrap(),
        BeginReply::Refused { present: 10 }
    );
    assert_eq!(queue.stats(SHARD).await.unwrap().epoch, Some(10));
}

#[tokio::test]
async fn the_greatest_epochs_are_told_apart() {
    let world = World::without_ring().await;
    let greatest = (1 << 53) - 1;
    let queue = world.queue();
    assert_eq!(
        queue.begin(SHARD, greatest - 1).await.unwrap(),
        BeginReply::Begun
    );
    assert_eq!(
        queue.begin(SHARD, greatest).await.unwrap(),
        BeginReply::Begun
    );
    let refused = BeginReply::Refused { present: greatest };
    assert_eq!(queue.begin(SHARD, greatest).await.unwrap(), refused);
    world.enter(&[(resource(1), 0)]).await;
    assert_eq!(world.claim_one(worker(1)).await.token.epoch, greatest);
}

#[tokio::test]
async fn members_and_leases_stay_when_an_epoch_begins() {
    let world = World::new().await;
    world.enter(&[(resource(1), 0), (resource(2), 60)]).await;
    let claim = world.claim_one(worker(1)).await;
    assert_eq!(
        world.queue().begin(SHARD, 2).await.unwrap(),
        BeginReply::Begun
    );
    assert_eq!(world.queue().stats(SHARD).await.unwrap().size, 2);
    assert_eq!(
        world.settle(worker(1), &claim, again(0)).await,
        SettleReply::Settled
    );
    let next = world.claim_one(worker(1)).await;
    assert_eq!((claim.token.epoch, next.token.epoch), (1, 2));
    assert!(next.token > claim.token);
}
