//! Another password: asked for, refused, and in the URL.

use http::Method;
use serde_json::json;
use shared::domain::TokenScope;
use tests::api_server::Answer;

use super::forks::restorable;
use super::world::World;

async fn rotate(world: &World, name: &str) -> Answer {
    let path = format!("/v1/resources/{name}/credentials/rotate");
    world.call(Method::POST, &path, TokenScope::Write).await
}

async fn url(world: &World, name: &str) -> String {
    let path = format!("/v1/resources/{name}/url");
    let answer = world.call(Method::GET, &path, TokenScope::Write).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn another_password_is_in_the_url_at_once_and_asked_for_once() {
    let world = World::start().await;
    world.create("shop").await;
    let answer = rotate(&world, "shop").await;
    assert_eq!(answer.code(), "not_ready", "{answer:?}");
    let answer = rotate(&world, "other").await;
    assert_eq!(answer.code(), "not_found", "{answer:?}");
    drop(world);

    let world = World::start().await;
    let (original, _) = restorable(&world).await;
    let first = rotate(&world, "shop").await;
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(first.json()["kind"], "rotate");
    let former = url(&world, "shop").await;
    let second = rotate(&world, "shop").await;
    assert_eq!(second.json()["id"], first.json()["id"]);
    assert_eq!(url(&world, "shop").await, former, "it is made once");

    // In force: only then is another one made.
    sqlx::query(
        "update operations set state = 'succeeded', finished_at = now() where kind = 'rotate'",
    )
    .execute(&world.database.pool)
    .await
    .unwrap();
    let third = rotate(&world, "shop").await;
    assert_ne!(third.json()["id"], first.json()["id"]);
    assert_ne!(url(&world, "shop").await, former);
    let stored: Vec<(bool, bool)> = sqlx::query_as(
        "select instructed_generation is null, endpoint_generation > endpoint_acknowledged_generation
         from resources where id = $1",
    )
    .bind(original)
    .fetch_all(&world.database.pool)
    .await
    .unwrap();
    assert_eq!(stored, [(true, true)], "server and endpoint are to be told");
}

#[tokio::test]
async fn a_follower_has_no_password_of_its_own() {
    let world = World::start().await;
    restorable(&world).await;
    let body = json!({ "name": "reports" });
    let path = "/v1/resources/shop/followers";
    let answer = world.post(path, TokenScope::Write, &body).await;
    let follower = serde_json::from_value(answer.json()["resource_id"].clone()).unwrap();
    world.make_available(follower).await;
    let answer = rotate(&world, "reports").await;
    assert_eq!(answer.code(), "following", "{answer:?}");
    assert!(answer.text.contains("rotate that of shop"), "{answer:?}");
    rotate(&world, "shop").await;
    let password = |url: String| url.split('@').next().map(str::to_owned);
    assert_eq!(
        password(url(&world, "reports").await),
        password(url(&world, "shop").await)
    );
}
