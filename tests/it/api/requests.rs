//! What holds for every request: its id, its metrics, the end of the server.

use http::Method;
use shared::domain::TokenScope;
use shared::ids::RequestId;

use super::world::World;

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_one_and_stored() {
    let world = World::start().await;
    let id = RequestId::new();
    let request = world
        .api
        .request(Method::POST, "/v1/resources")
        .bearer_auth(world.tokens.secret(TokenScope::Write))
        .header("x-request-id", id.to_string())
        .json(&serde_json::json!({ "name": "shop", "plan": "hobby" }));
    let answer = world.api.send(request).await.unwrap();
    assert_eq!(answer.header("x-request-id"), id.to_string());
    for table in ["resources", "operations", "jobs", "audit"] {
        let stored: RequestId = match table {
            "resources" => sqlx::query_scalar("select request_id from resources"),
            "operations" => sqlx::query_scalar("select request_id from operations"),
            "jobs" => sqlx::query_scalar("select request_id from jobs"),
            _ => sqlx::query_scalar("select request_id from audit"),
        }
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
        assert_eq!(stored, id, "{table}");
    }

    let request = world
        .api
        .request(Method::GET, "/healthz")
        .header("x-request-id", "mine");
    let answer = world.api.send(request).await.unwrap();
    answer.header("x-request-id").parse::<RequestId>().unwrap();
}

#[tokio::test]
async fn requests_are_counted_by_route_and_secrets_are_not_in_metrics() {
    let world = World::start().await;
    world.create("shop").await;
    world.get("/v1/resources/shop").await;
    world.get("/v1/resources/nobody").await;
    world.get("/v1/made/up/path").await;
    let metrics = world
        .api
        .send(world.api.request(Method::GET, "/metrics"))
        .await
        .unwrap();
    assert!(metrics.header("content-type").starts_with("text/plain"));
    for line in [
        r#"ringmaster_http_requests_total{route="/v1/resources",method="POST",status="202"} 1"#,
        r#"ringmaster_http_requests_total{route="/v1/resources/{resource}",method="GET",status="200"} 1"#,
        r#"ringmaster_http_requests_total{route="/v1/resources/{resource}",method="GET",status="404"} 1"#,
        r#"ringmaster_http_requests_total{route="none",method="GET",status="404"} 1"#,
        r#"ringmaster_http_request_seconds_count{route="/v1/resources",method="POST"} 1"#,
    ] {
        assert!(
            metrics.text.contains(line),
            "{line} is not in\n{}",
            metrics.text
        );
    }
    assert!(
        !metrics
            .text
            .contains(world.tokens.secret(TokenScope::Write))
    );
    assert!(!metrics.text.contains("shop"));
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way() {
    let world = World::start().await;
    let creates: Vec<String> = (0..20).map(|number| format!("shop-{number}")).collect();
    let answers = futures::future::join_all(creates.iter().map(|name| {
        let request = world
            .api
            .request(Method::POST, "/v1/resources")
            .bearer_auth(world.tokens.secret(TokenScope::Write))
            .json(&serde_json::json!({ "name": name, "plan": "hobby" }));
        world.api.send(request)
    }));
    let stopped = async {
        tokio::task::yield_now().await;
        world.api.stop().await;
    };
    let (answers, ()) = tokio::join!(answers, stopped);
    let accepted = answers
        .iter()
        .flatten()
        .filter(|answer| answer.status == 202)
        .count();
    let created: i64 = sqlx::query_scalar("select count(*) from resources")
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    assert_eq!(
        i64::try_from(accepted).unwrap(),
        created,
        "an answer was lost"
    );
    let late = world
        .api
        .send(world.api.request(Method::GET, "/healthz"))
        .await;
    assert!(late.is_err(), "{late:?}");
}
