//! One token cannot take everything.

use api::config::LimitOptions;
use http::Method;
use shared::domain::TokenScope;

use super::world::World;

#[tokio::test]
async fn too_many_requests_of_one_token_are_refused_and_others_are_not() {
    let limits = LimitOptions {
        rate_limit: 1,
        rate_burst: 2,
        ..LimitOptions::default()
    };
    let world = World::start_with(limits).await;
    let ask = |scope| world.call(Method::GET, "/v1/plans", scope);
    let mut refused = None;
    // On a slow machine the bucket refills meanwhile; it cannot for ever.
    for _ in 0..1000 {
        let answer = ask(TokenScope::Read).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("there is a limit");
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(ask(TokenScope::Admin).await.status, 200);
    let health = world
        .api
        .send(world.api.request(Method::GET, "/healthz"))
        .await
        .unwrap();
    assert_eq!(health.status, 200);
    let metrics = world
        .api
        .send(world.api.request(Method::GET, "/metrics"))
        .await
        .unwrap()
        .text;
    assert!(
        metrics.contains("ringmaster_http_refused_total{reason=\"rate_limit\"} 1"),
        "{metrics}"
    );
}
