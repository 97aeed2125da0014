//! Alerts: open once, found from the resource that they touch.

use chrono::{DateTime, Duration, Utc};
use shared::db::Limit;
use shared::db::alerts::{self, NewAlert};
use shared::db::fleet::{AlertSubject, settle_alert};
use shared::domain::MachineKind;
use shared::ids::ResourceId;
use shared::machine::Alert;

use super::world::{World, now};

async fn settle(world: &World, id: ResourceId, alert: Option<Alert>, at: DateTime<Utc>) {
    let subject = AlertSubject {
        kind: MachineKind::Resource,
        id: id.as_uuid(),
        resource: Some(id.as_uuid()),
    };
    settle_alert(world.pool(), subject, alert, at)
        .await
        .unwrap();
}

async fn open(world: &World) -> Vec<alerts::Alert> {
    let page = alerts::list_open(world.pool(), None, Limit::most()).await;
    page.unwrap().items
}

#[tokio::test]
async fn an_alert_is_open_once_until_another_or_none_takes_its_place() {
    let world = World::start().await;
    let id = world.create("shop").await.unwrap().operation.resource_id;
    let later = now() + Duration::minutes(1);
    settle(&world, id, Some(Alert::ResourceCreationLate), now()).await;
    let first = open(&world).await;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].name, Alert::ResourceCreationLate.as_str());
    assert_eq!(first[0].detail, Alert::ResourceCreationLate.meaning());
    settle(&world, id, Some(Alert::ResourceCreationLate), later).await;
    assert_eq!(open(&world).await, first, "raised once, and that is when");

    settle(&world, id, Some(Alert::ResourceUnavailable), later).await;
    let second = open(&world).await;
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].name, Alert::ResourceUnavailable.as_str());

    let earlier = now() - Duration::hours(1);
    settle(&world, id, None, earlier).await;
    assert_eq!(
        open(&world).await,
        [],
        "a clock that went back clears it too"
    );
    assert_eq!(
        alerts::open_of_resource(world.pool(), id).await.unwrap(),
        []
    );
    settle(&world, id, Some(Alert::ResourceUnavailable), later).await;
    assert_eq!(open(&world).await.len(), 1, "it can come again");
}

#[tokio::test]
async fn several_alerts_of_one_subject_come_and_go_on_their_own() {
    let world = World::start().await;
    let id = world.create("shop").await.unwrap().operation.resource_id;
    let raise = async |name, detail| {
        let new = NewAlert {
            name,
            subject_kind: "timeline",
            subject_id: id.as_uuid(),
            resource_id: Some(id),
            detail,
            now: now(),
        };
        alerts::raise(world.pool(), &new).await.unwrap()
    };
    assert!(raise("archive-behind", "5 minutes").await);
    assert!(!raise("archive-behind", "6 minutes").await);
    assert!(raise("archive-gap", "one").await);
    let mut told: Vec<_> = open(&world).await.into_iter().map(|it| it.detail).collect();
    told.sort();
    assert_eq!(told, ["6 minutes", "one"]);

    let clear = || alerts::clear(world.pool(), "archive-behind", id.as_uuid(), now());
    assert!(clear().await.unwrap());
    assert!(!clear().await.unwrap());
    assert!(raise("archive-behind", "again").await);
    let earlier = now() - Duration::hours(1);
    let cleared = alerts::clear_all_of(world.pool(), id.as_uuid(), earlier).await;
    assert_eq!(cleared.unwrap(), 2);
    assert_eq!(open(&world).await, []);
}

#[tokio::test]
async fn a_resource_shows_the_alerts_of_what_is_under_it() {
    let world = World::start().await;
    let shop = world.create("shop").await.unwrap().operation.resource_id;
    let blog = world.create("blog").await.unwrap().operation.resource_id;
    let (server, participant) = world.place(shop).await;
    for (kind, id, alert) in [
        (
            MachineKind::Server,
            server.as_uuid(),
            Alert::ServerUnreachable,
        ),
        (
            MachineKind::Participant,
            participant.as_uuid(),
            Alert::ParticipantDown,
        ),
    ] {
        let subject = AlertSubject {
            kind,
            id,
            resource: None,
        };
        settle_alert(world.pool(), subject, Some(alert), now())
            .await
            .unwrap();
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
