//! A resource from its create to its end, as a customer sees it.

use chrono::Duration;
use http::Method;
use serde_json::json;
use shared::db::fleet::{AlertSubject, settle_alert};
use shared::db::{observations, operations, transitions};
use shared::domain::{MachineKind, Observation, OperationKind, OperationState, Outage, TokenScope};
use shared::http_api::{Operation, Page, ResourceDetail, Transition};
use shared::ids::RequestId;
use shared::machine::Alert;
use shared::queue::{Member, MemberKind, Ring};

use super::world::{World, now};

#[tokio::test]
async fn a_resource_is_found_by_name_and_by_id() {
    let world = World::start().await;
    let operation = world.create("shop").await;
    let by_name = world.get("/v1/resources/shop").await;
    let by_id = world
        .get(&format!("/v1/resources/{}", operation.resource_id))
        .await;
    assert_eq!(by_name.status, 200);
    assert_eq!(by_name.json(), by_id.json());
    let json = by_name.json();
    assert_eq!(json["state"], "creating");
    assert_eq!(json["endpoint"], json!(null));
    assert_eq!(json["alerts"], json!([]));
    assert_eq!(json["request_id"], operation.request_id.to_string());
    let detail: ResourceDetail = serde_json::from_str(&by_name.text).unwrap();
    assert_eq!(detail.resource.id, operation.resource_id);
}

#[tokio::test]
async fn an_available_resource_shows_its_url_observation_and_alerts() {
    let world = World::start().await;
    let id = world.create("shop").await.resource_id;
    let (server, _) = world.make_available(id).await;
    let seen = Observation::absent(now(), Outage::Refused);
    let pool = &world.database.pool;
    observations::record_newest(pool, &[(id, seen.clone())])
        .await
        .unwrap();
    let subject = AlertSubject {
        kind: MachineKind::Server,
        id: server.as_uuid(),
        resource: None,
    };
    settle_alert(pool, subject, Some(Alert::ServerUnreachable), now())
        .await
        .unwrap();

    let detail: ResourceDetail =
        serde_json::from_str(&world.get("/v1/resources/shop").await.text).unwrap();
    assert_eq!(detail.resource.endpoint.unwrap().port, 7002);
    assert_eq!(detail.resource.postgres_major, Some(15));
    assert_eq!(detail.observation, Some(seen));
    assert_eq!(detail.alerts[0].name, "server-unreachable");

    let url = world
        .call(Method::GET, "/v1/resources/shop/url", TokenScope::Write)
        .await;
    assert_eq!(url.status, 200, "{url:?}");
    let name = format!("shop_{}", id.as_uuid().simple());
    let expected = format!("postgres://{name}:hunter2@127.0.0.1:7002/{name}?sslmode=require");
    assert_eq!(url.json()["url"], expected);
    assert_eq!(url.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_password_that_cannot_be_opened_is_our_fault_and_not_shown() {
    let world = World::start().await;
    let id = world.create("shop").await.resource_id;
    world.make_available(id).await;
    sqlx::query("update resources set password = 'damaged'")
        .execute(&world.database.pool)
        .await
        .unwrap();
    let answer = world.get("/v1/resources/shop/url").await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (500, "internal")
    );
    assert!(!answer.text.contains("decrypt"), "{answer:?}");
}

#[tokio::test]
async fn a_destroy_is_accepted_and_repeating_it_gives_the_same_operation() {
    let world = World::start().await;
    let create = world.create("shop").await;
    let destroy = || world.call(Method::DELETE, "/v1/resources/shop", TokenScope::Write);
    let answer = destroy().await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let operation: Operation = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(
        answer.header("location"),
        format!("/v1/operations/{}", operation.id)
    );
    assert_eq!(destroy().await.json(), answer.json());
    let member = Member::new(MemberKind::Resource, operation.resource_id.into());
    world.wait_for_member(Ring::Ring, member).await;

    let create = world.get(&format!("/v1/operations/{}", create.id)).await;
    let create: Operation = serde_json::from_str(&create.text).unwrap();
    assert_eq!(create.state, OperationState::Failed);

    // Once it is gone: unknown by name, a record by id, nothing to destroy.
    sqlx::query("update resources set state = 'deprovisioned', deadline_at = null")
        .execute(&world.database.pool)
        .await
        .unwrap();
    let (pool, kind) = (&world.database.pool, OperationKind::Destroy);
    operations::finish(pool, operation.resource_id, kind, None, now())
        .await
        .unwrap();
    assert_eq!(world.get("/v1/resources/shop").await.status, 404);
    assert_eq!(destroy().await.status, 404);
    let by_id = format!("/v1/resources/{}", operation.resource_id);
    assert_eq!(world.get(&by_id).await.json()["state"], "deprovisioned");
    assert_eq!(
        world
            .call(Method::DELETE, &by_id, TokenScope::Write)
            .await
            .status,
        404
    );
    assert_eq!(world.get(&format!("{by_id}/url")).await.code(), "not_ready");
}

#[tokio::test]
async fn observations_are_listed_newest_first() {
    let world = World::start().await;
    let id = world.create("shop").await.resource_id;
    let pool = &world.database.pool;
    observations::create_partition(pool, now().date_naive())
        .await
        .unwrap();
    let seen: Vec<_> = (0..5)
        .map(|n| {
            (
                id,
                Observation::absent(now() + Duration::microseconds(n), Outage::Refused),
            )
        })
        .collect();
    observations::record_history(pool, &seen).await.unwrap();
    let path = "/v1/resources/shop/observations?limit=2";
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let answer = world.get(&format!("{path}{after}")).await;
        let page: Page<Observation> = serde_json::from_str(&answer.text).unwrap();
        found.extend(page.data.into_iter().map(|observation| (id, observation)));
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    found.reverse();
    assert_eq!(found, seen);
}

#[tokio::test]
async fn the_story_is_told_in_order_and_can_be_followed() {
    let world = World::start().await;
    let id = world.create("shop").await.resource_id;
    let tell = async |event: &str| {
        let new = transitions::NewTransition {
            machine: MachineKind::Resource,
            subject_id: id.as_uuid(),
            resource_id: Some(id),
            from: "creating",
            event,
            to: "available",
            why: "the service answers",
            detail: None,
            request_id: RequestId::new(),
            at: now(),
        };
        transitions::insert(&world.database.pool, &new)
            .await
            .unwrap();
    };
    let read = async |after: Option<i64>| {
        let after = after.map_or_else(String::new, |id| format!("?after={id}"));
        let answer = world
            .get(&format!("/v1/resources/shop/transitions{after}"))
            .await;
        let page: Page<Transition> = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(page.next, None);
        page.data
    };
    tell("first").await;
    tell("second").await;
    let story = read(None).await;
    let events: Vec<&str> = story.iter().map(|step| step.event.as_str()).collect();
    assert_eq!(events, ["first", "second"]);
    let last = story[1].id;
    assert_eq!(read(Some(last)).await, []);
    tell("third").await;
    assert_eq!(read(Some(last)).await[0].event, "third");
}
