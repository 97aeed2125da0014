//! Tokens: made, listed, taken back, expired.

use std::time::Duration;

use api::config::LimitOptions;
use http::Method;
use serde_json::json;
use shared::domain::TokenScope;
use shared::http_api::{NewToken, Page, Token};

use super::world::World;

impl World {
    async fn status_with(&self, token: &str) -> u16 {
        let request = self
            .api
            .request(Method::GET, "/v1/plans")
            .bearer_auth(token);
        self.api.send(request).await.unwrap().status.as_u16()
    }
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked() {
    let world = World::start().await;
    let body = json!({ "name": "dashboard", "scope": "read", "expires_in_days": 1 });
    let answer = world.post("/v1/tokens", TokenScope::Admin, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let NewToken { token, secret } = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(world.status_with(secret.expose()).await, 200);

    let listed = world.get("/v1/tokens").await;
    assert!(!listed.text.contains(secret.expose()));
    let page: Page<Token> = serde_json::from_str(&listed.text).unwrap();
    assert_eq!(page.data.last(), Some(&token));
    assert_eq!(page.data.len(), 4);

    let path = format!("/v1/tokens/{}", token.id);
    let revoked = world.call(Method::DELETE, &path, TokenScope::Admin).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert!(revoked.json()["revoked_at"].is_string());
    assert_eq!(world.status_with(secret.expose()).await, 401, "at once");
    let again = world.call(Method::DELETE, &path, TokenScope::Admin).await;
    assert_eq!(again.json(), revoked.json());

    let audited: Vec<(String, String)> =
        sqlx::query_as("select action, subject from audit order by id")
            .fetch_all(&world.database.pool)
            .await
            .unwrap();
    let subject = format!("token {}", token.id);
    assert_eq!(audited[0], ("create".to_owned(), subject.clone()));
    assert_eq!(audited[1], ("revoke".to_owned(), subject));
}

#[tokio::test]
async fn an_expired_token_is_refused_on_the_dot_although_it_is_remembered() {
    let world = World::start().await;
    let secret = world.tokens.secret(TokenScope::Read).to_owned();
    assert_eq!(world.status_with(&secret).await, 200);
    world.clock.advance(chrono::Duration::days(1));
    assert_eq!(world.status_with(&secret).await, 401);
}

#[tokio::test]
async fn a_token_revoked_elsewhere_is_refused_soon() {
    let limits = LimitOptions {
        token_cache_ms: 200,
        ..LimitOptions::default()
    };
    let world = World::start_with(limits).await;
    let secret = world.tokens.secret(TokenScope::Read).to_owned();
    assert_eq!(world.status_with(&secret).await, 200);
    let id = world.tokens.id(TokenScope::Read);
    shared::db::tokens::revoke(&world.database.pool, id, super::world::now())
        .await
        .unwrap();
    let refused = async {
        while world.status_with(&secret).await != 401 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused)
        .await
        .unwrap();
}
