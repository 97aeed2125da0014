//! Creates: one transaction, one wake, and once for each key.

use std::collections::BTreeSet;

use serde_json::json;
use shared::domain::TokenScope;
use shared::http_api::Operation;
use shared::queue::{Member, MemberKind, Ring};

use super::world::World;

#[tokio::test]
async fn a_create_is_accepted_can_be_followed_and_wakes_its_job() {
    let world = World::start().await;
    let body = json!({ "name": "shop", "plan": "hobby" });
    let answer = world.post("/v1/resources", TokenScope::Write, &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let operation: Operation = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(
        answer.header("location"),
        format!("/v1/operations/{}", operation.id)
    );
    assert_eq!(
        answer.header("x-request-id"),
        operation.request_id.to_string()
    );
    assert_eq!(answer.header("cache-control"), "no-store");

    let followed = world.get(answer.header("location")).await;
    assert_eq!(followed.status, 200);
    assert_eq!(followed.json(), answer.json());
    let member = Member::new(MemberKind::Provision, operation.resource_id.into());
    world.wait_for_member(Ring::Jobs, member).await;
}

#[tokio::test]
async fn a_create_sent_many_times_at_once_with_one_key_happens_once() {
    let world = World::start().await;
    let twins = (0..8).map(|_| world.create_once("shop", "one-key"));
    let answers = futures::future::join_all(twins).await;
    let bodies: BTreeSet<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(
        answers.iter().all(|answer| answer.status == 202),
        "{answers:?}"
    );
    let listed = world.get("/v1/resources").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);

    // Later too, and spelled otherwise.
    let again = world
        .api
        .request(http::Method::POST, "/v1/resources")
        .bearer_auth(world.tokens.secret(TokenScope::Write))
        .header("Idempotency-Key", "one-key")
        .header("content-type", "Application/JSON; charset=utf-8")
        .body("{ \"plan\": \"standard\",\n \"name\": \"shop\" }");
    let again = world.api.send(again).await.unwrap();
    assert_eq!(again.status, 202, "{again:?}");
    assert_eq!(again.text, answers[0].text);
}

#[tokio::test]
async fn a_key_is_good_for_one_request_of_one_token() {
    let world = World::start().await;
    assert_eq!(world.create_once("shop", "key").await.status, 202);
    let before = world.database.row_counts().await.unwrap();
    let reused = world.create_once("blog", "key").await;
    assert_eq!(
        (reused.status.as_u16(), reused.code().as_str()),
        (422, "key_reused")
    );
    let taken = world.create_once("shop", "another").await;
    assert_eq!(
        (taken.status.as_u16(), taken.code().as_str()),
        (409, "name_taken")
    );
    assert_eq!(world.database.row_counts().await.unwrap(), before);

    let other_token = world
        .api
        .request(http::Method::POST, "/v1/resources")
        .bearer_auth(world.tokens.secret(TokenScope::Admin))
        .header("idempotency-key", "key")
        .json(&json!({ "name": "blog", "plan": "hobby" }));
    assert_eq!(world.api.send(other_token).await.unwrap().status, 202);
}
