//! Observations: the newest always, the history by day.

use chrono::{DateTime, Duration, Utc};
use shared::db::{Limit, observations};
use shared::domain::{Observation, Outage};
use shared::ids::ResourceId;

use super::world::{World, now};

fn seen(id: ResourceId, at: DateTime<Utc>) -> (ResourceId, Observation) {
    (id, Observation::absent(at, Outage::Refused))
}

#[tokio::test]
async fn the_newest_wins_in_any_order_and_within_a_batch() {
    let world = World::start().await;
    let shop = world.create("shop").await.unwrap().operation.resource_id;
    let blog = world.create("blog").await.unwrap().operation.resource_id;
    let second = |s| now() + Duration::seconds(s);
    let stranger = ResourceId::new();

    let batch = [
        seen(shop, second(5)),
        seen(blog, second(1)),
        seen(shop, second(4)),
        seen(stranger, second(1)),
    ];
    observations::record_newest(world.pool(), &batch)
        .await
        .unwrap();
    observations::record_newest(world.pool(), &[seen(shop, second(3))])
        .await
        .unwrap();
    observations::record_newest(world.pool(), &[])
        .await
        .unwrap();

    let newest = |id| observations::newest(world.pool(), id);
    assert_eq!(newest(shop).await.unwrap(), Some(seen(shop, second(5)).1));
    assert_eq!(newest(blog).await.unwrap(), Some(seen(blog, second(1)).1));
    assert_eq!(newest(stranger).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_forgotten_is_not_brought_back_by_a_late_look() {
    let world = World::start().await;
    let id = world.create("shop").await.unwrap().operation.resource_id;
    let newest = || observations::newest(world.pool(), id);
    for (state, participant, kept) in [
        ("deprovisioning", true, true),
        ("deprovisioning", false, false),
        ("deprovisioned", false, false),
    ] {
        let (_, made) = world.place(id).await;
        sqlx::query(
            "update resources set state = $2, participant_id = $3, endpoint_host = null,
                 endpoint_port = null, endpoint_upstream = null, endpoint_database = null,
                 deadline_at = null
             where id = $1",
        )
        .bind(id)
        .bind(state)
        .bind(participant.then_some(made))
        .execute(world.pool())
        .await
        .unwrap();
        observations::record_newest(world.pool(), &[seen(id, now())])
            .await
            .unwrap();
        assert_eq!(newest().await.unwrap().is_some(), kept, "{state}");
        sqlx::query("delete from observations")
            .execute(world.pool())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn batches_in_opposite_order_do_not_block_each_other() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(
            world
                .create(&format!("shop-{number}"))
                .await
                .unwrap()
                .operation
                .resource_id,
        );
    }
    let batch: Vec<_> = ids.iter().map(|id| seen(*id, now())).collect();
    let reversed: Vec<_> = ids
        .iter()
        .rev()
        .map(|id| seen(*id, now() + Duration::seconds(1)))
        .collect();
    let writes = (0..20).map(|number| {
        let batch = if number % 2 == 0 { &batch } else { &reversed };
        observations::record_newest(world.pool(), batch)
    });
    futures::future::try_join_all(writes).await.unwrap();
}

#[tokio::test]
async fn history_is_kept_by_day_listed_newest_first_and_forgotten_by_day() {
    let world = World::start().await;
    let id = world.create("shop").await.unwrap().operation.resource_id;
    let today = now().date_naive();
    let yesterday = today.pred_opt().unwrap();
    let create = |day| observations::create_partition(world.pool(), day);
    let (a, b) = tokio::join!(create(today), create(today));
    assert!(a.unwrap() ^ b.unwrap(), "one of two made it");
    assert!(create(yesterday).await.unwrap());

    let at = |hours| now() - Duration::hours(hours);
    let history = [seen(id, at(20)), seen(id, at(10)), seen(id, at(1))];
    observations::record_history(world.pool(), &history)
        .await
        .unwrap();
    observations::record_history(world.pool(), &history)
        .await
        .unwrap();
    observations::record_newest(world.pool(), &[seen(id, at(1))])
        .await
        .unwrap();
    let list =
        |before, limit| observations::list(world.pool(), id, before, Limit::new(limit).unwrap());
    let first = list(None, 2).await.unwrap();
    assert_eq!(first.items, [seen(id, at(1)).1, seen(id, at(10)).1]);
    let rest = list(first.next, 2).await.unwrap();
    assert_eq!(rest.items, [seen(id, at(20)).1]);
    assert_eq!(rest.next, None);
    // The newest is listed also while it is not in the history.
    observations::record_newest(world.pool(), &[seen(id, at(0))])
        .await
        .unwrap();
    assert_eq!(list(None, 1).await.unwrap().items, [seen(id, at(0)).1]);

    assert_eq!(
        observations::drop_partitions(world.pool(), yesterday)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        observations::drop_partitions(world.pool(), today)
            .await
            .unwrap(),
        1
    );
    let left = list(None, 10).await.unwrap().items;
    assert_eq!(
        left,
        [seen(id, at(0)).1, seen(id, at(1)).1, seen(id, at(10)).1]
    );
}

#[tokio::test]
async fn a_day_without_room_is_refused_as_such() {
    let world = World::start().await;
    let history = [seen(ResourceId::new(), now())];
    let error = observations::record_history(world.pool(), &history)
        .await
        .unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    assert!(error.constraint().is_some(), "{error:?}");
}
