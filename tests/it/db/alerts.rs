//! Alerts: open once, found from the resource that they touch.

use chrono::Duration;
use shared::db::Limit;
use shared::db::alerts::{self, NewAlert};

use super::world::{World, now};

#[tokio::test]
async fn an_alert_is_raised_once_until_it_is_cleared() {
    let world = World::start().await;
    let id = world.create("shop").await.unwrap().operation.resource_id;
    let raise = async |detail| {
        let new = NewAlert {
            name: "creating_too_long",
            subject_kind: "resource",
            subject_id: id.as_uuid(),
            resource_id: Some(id),
            detail,
            now: now(),
        };
        alerts::raise(world.pool(), &new).await.unwrap()
    };
    assert!(raise("5 minutes").await);
    assert!(!raise("5 minutes").await);
    assert!(!raise("6 minutes").await);
    let open = alerts::list_open(world.pool(), None, Limit::most())
        .await
        .unwrap()
        .items;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].detail, "6 minutes");

    let clear = || alerts::clear(world.pool(), "creating_too_long", id.as_uuid(), now());
    assert!(clear().await.unwrap());
    assert!(!clear().await.unwrap());
    assert_eq!(
        alerts::open_of_resource(world.pool(), id).await.unwrap(),
        []
    );
    assert!(raise("again").await);
    let earlier = now() - Duration::hours(1);
    assert_eq!(
        alerts::clear_all_of(world.pool(), id.as_uuid(), earlier)
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn a_resource_shows_the_alerts_of_what_is_under_it() {
    let world = World::start().await;
    let shop = world.create("shop").await.unwrap().operation.resource_id;
    let blog = world.create("blog").await.unwrap().operation.resource_id;
    let (server, participant) = world.place(shop).await;
    for (subject_kind, subject_id) in [
        ("server", server.as_uuid()),
        ("participant", participant.as_uuid()),
    ] {
        let new = NewAlert {
            name: "unreachable",
            subject_kind,
            subject_id,
            resource_id: None,
            detail: "",
            now: now(),
        };
        assert!(alerts::raise(world.pool(), &new).await.unwrap());
    }
    let of_shop = alerts::open_of_resource(world.pool(), shop).await.unwrap();
    let kinds: Vec<&str> = of_shop
        .iter()
        .map(|alert| alert.subject_kind.as_str())
        .collect();
    assert_eq!(kinds, ["server", "participant"]);
    assert_eq!(
        alerts::open_of_resource(world.pool(), blog).await.unwrap(),
        []
    );
}
