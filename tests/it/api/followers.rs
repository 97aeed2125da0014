//! Followers: asked for, refused, shown, and let go.

use http::Method;
use serde_json::{Value, json};
use shared::domain::TokenScope;
use shared::ids::ResourceId;
use tests::api_server::Answer;

use super::forks::restorable;
use super::world::World;

const PATH: &str = "/v1/resources/shop/followers";

/// Asks for a follower, which is made available as far as rows can tell.
async fn follow(world: &World, name: &str) -> ResourceId {
    let body = json!({ "name": name });
    let answer = world.post(PATH, TokenScope::Write, &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    serde_json::from_value(answer.json()["resource_id"].clone()).unwrap()
}

async fn post(world: &World, path: &str) -> Answer {
    world.call(Method::POST, path, TokenScope::Write).await
}

async fn delete(world: &World, path: &str) -> Answer {
    world.call(Method::DELETE, path, TokenScope::Write).await
}

#[tokio::test]
async fn a_follower_has_the_names_of_its_original_and_is_shown_there() {
    let world = World::start().await;
    let (original, _) = restorable(&world).await;
    let follower = follow(&world, "reports").await;
    let shown = world.get("/v1/resources/reports").await.json();
    assert_eq!(shown["fork"]["parent_id"], json!(original), "{shown}");
    assert_eq!(shown["fork"]["follows"], true);
    assert_eq!(shown["plan"], "standard");
    assert_eq!(shown["lag"], Value::Null);
    let shown = world.get("/v1/resources/shop").await.json();
    assert_eq!(shown["followers"], json!(["reports"]), "{shown}");
    let names = "select count(distinct (database_name, role_name)) from resources";
    let names: i64 = sqlx::query_scalar(names)
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    assert_eq!(names, 1);

    // Nobody takes its original away from it, and it is not copied or backed up itself.
    let answer = delete(&world, "/v1/resources/shop").await;
    assert_eq!(answer.code(), "following", "{answer:?}");
    assert!(answer.text.contains("reports"), "{answer:?}");
    world.make_available(follower).await;
    let body = json!({ "name": "staging" });
    for path in ["forks", "followers"] {
        let path = format!("/v1/resources/reports/{path}");
        let answer = world.post(&path, TokenScope::Write, &body).await;
        assert_eq!(answer.code(), "following", "{answer:?}");
        assert!(answer.text.contains("reports follows shop"), "{answer:?}");
    }
    let answer = post(&world, "/v1/resources/reports/backups").await;
    assert_eq!(answer.code(), "following", "{answer:?}");
    let answer = delete(&world, "/v1/resources/reports").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let answer = delete(&world, "/v1/resources/shop").await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test]
async fn who_follows_whom_is_refused_where_it_cannot_be() {
    let world = World::start().await;
    let created = world.create("shop").await;
    let body = json!({ "name": "reports" });
    let answer = world.post(PATH, TokenScope::Write, &body).await;
    assert_eq!(answer.code(), "not_ready", "{answer:?}");
    let answer = post(&world, "/v1/resources/shop/unfollow").await;
    assert_eq!(answer.code(), "following", "{answer:?}");
    drop((world, created));

    let world = World::start().await;
    restorable(&world).await;
    for (body, code) in [
        (
            json!({ "name": "reports", "plan": "hobby" }),
            "plan_forbids",
        ),
        (json!({ "name": "reports", "plan": "gold" }), "unknown_plan"),
        (json!({ "name": "Reports" }), "invalid_name"),
        (json!({ "name": "shop" }), "name_taken"),
        (json!({ "name": "reports", "to": "now" }), "invalid_request"),
    ] {
        let answer = world.post(PATH, TokenScope::Write, &body).await;
        assert_eq!(answer.code(), code, "{body}: {answer:?}");
    }
    sqlx::query(
        "insert into plans select * from jsonb_populate_record(null::plans, (
            select to_jsonb(plans) || '{\"name\": \"small\", \"connection_limit\": 5}'
            from plans where name = 'standard'))",
    )
    .execute(&world.database.pool)
    .await
    .unwrap();
    let body = json!({ "name": "reports", "plan": "small" });
    let answer = world.post(PATH, TokenScope::Write, &body).await;
    assert_eq!(answer.code(), "plan_forbids", "{answer:?}");
    assert!(answer.text.contains("connections"), "{answer:?}");
    for number in 0..8 {
        follow(&world, &format!("reports-{number}")).await;
    }
    let body = json!({ "name": "reports-8" });
    let answer = world.post(PATH, TokenScope::Write, &body).await;
    assert_eq!(answer.code(), "following", "{answer:?}");
    assert!(answer.text.contains("8 followers"), "{answer:?}");
}

#[tokio::test]
async fn an_end_of_following_is_asked_for_once() {
    let world = World::start().await;
    restorable(&world).await;
    let follower = follow(&world, "reports").await;
    let path = "/v1/resources/reports/unfollow";
    let answer = post(&world, path).await;
    assert_eq!(answer.code(), "not_ready", "{answer:?}");
    world.make_available(follower).await;
    let first = post(&world, path).await;
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(first.json()["kind"], "unfollow");
    let second = post(&world, path).await;
    assert_eq!(second.json()["id"], first.json()["id"]);
    let shown = world.get("/v1/resources/reports").await.json();
    assert_ne!(
        shown["fork"]["unfollow_requested_at"],
        Value::Null,
        "{shown}"
    );
    let jobs: Vec<String> = sqlx::query_scalar("select kind from jobs where subject_id = $1")
        .bind(follower)
        .fetch_all(&world.database.pool)
        .await
        .unwrap();
    assert!(jobs.contains(&"catch_up".to_owned()), "{jobs:?}");
}
