//! Redis away: everything goes on. The control database away: that is said, and it ends.

use std::time::Duration;

use http::Method;
use serde_json::json;
use shared::domain::TokenScope;
use tests::api_server::Answer;

use super::world::World;

impl World {
    async fn readiness(&self) -> Answer {
        self.api
            .send(self.api.request(Method::GET, "/readyz"))
            .await
            .unwrap()
    }

    async fn wakes_failed(&self) -> u64 {
        let metrics = self
            .api
            .send(self.api.request(Method::GET, "/metrics"))
            .await
            .unwrap()
            .text;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("ringmaster_http_wakes_failed_total "));
        line.and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .unwrap_or_default()
    }
}

#[tokio::test]
async fn without_redis_creates_are_accepted_and_the_lost_wake_is_counted() {
    let mut world = World::start().await;
    assert_eq!(world.readiness().await.json()["redis"], "up");
    world.redis.kill().unwrap();
    world.create("shop").await;
    let counted = async {
        while world.wakes_failed().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), counted)
        .await
        .unwrap();

    let readiness = world.readiness().await;
    assert_eq!(readiness.status, 200);
    let expected = json!({ "ready": true, "control_database": "up", "redis": "down" });
    assert_eq!(readiness.json(), expected);
    let ring = world.get("/v1/ring").await;
    assert_eq!(
        (ring.status.as_u16(), ring.code().as_str()),
        (503, "unavailable")
    );
    assert!(ring.json()["detail"].as_str().unwrap().contains("Redis"));

    world.redis.restart_empty().await.unwrap();
    let back = async {
        while world.readiness().await.json()["redis"] != "up" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_redis_that_hangs_does_not_hold_up_a_create() {
    let world = World::start().await;
    world.create("before").await;
    world.redis.pause().unwrap();
    // No wake is answered as long as Redis is paused, so neither of these waited for one.
    world.create("shop").await;
    world.create("blog").await;
    world.redis.resume().unwrap();
    world.api.stop().await;
}

#[tokio::test]
async fn a_control_database_that_is_away_is_told_and_comes_back() {
    let mut world = World::start().await;
    world.create("shop").await;
    world.database.server_mut().stop().await.unwrap();
    let readiness = world.readiness().await;
    assert_eq!(readiness.status, 503);
    assert_eq!(readiness.json()["control_database"], "down");
    let body = json!({ "name": "blog", "plan": "hobby" });
    let refused = world.post("/v1/resources", TokenScope::Write, &body).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (503, "unavailable")
    );
    assert_eq!(refused.header("retry-after"), "1");
    let health = world
        .api
        .send(world.api.request(Method::GET, "/healthz"))
        .await
        .unwrap();
    assert_eq!(health.status, 200);

    world.database.server_mut().restart().await.unwrap();
    let back = async {
        while world.get("/v1/resources/shop").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), back)
        .await
        .unwrap();
}
