//! Tokens: good until they expire or are taken back.

use chrono::{DateTime, Duration, Utc};
use shared::db::{Limit, audit, tokens};
use shared::domain::TokenScope;
use shared::ids::{RequestId, TokenId};

use super::world::{World, now};

#[tokio::test]
async fn a_token_is_good_until_it_expires_or_is_revoked() {
    let world = World::start().await;
    let (id, secret) = world.database.token(TokenScope::Read, now()).await.unwrap();
    let hash = secret.sha256();
    let check = async |at: DateTime<Utc>| {
        tokens::authenticate(world.pool(), &hash, at)
            .await
            .unwrap()
            .map(|bearer| bearer.id)
    };
    let day = Duration::days(1);
    assert_eq!(check(now()).await, Some(id));
    assert_eq!(check(now() + day - Duration::seconds(1)).await, Some(id));
    assert_eq!(check(now() + day).await, None, "expired");
    assert_eq!(
        tokens::authenticate(world.pool(), &[0; 32], now())
            .await
            .unwrap(),
        None
    );

    let revoke = |id, at| tokens::revoke(world.pool(), id, at);
    let revoked = revoke(id, now()).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(now()));
    assert_eq!(check(now()).await, None, "revoked");
    assert_eq!(
        revoke(id, now() + day).await.unwrap(),
        Some(revoked),
        "the first time counts"
    );
    assert_eq!(revoke(TokenId::new(), now()).await.unwrap(), None);
}

#[tokio::test]
async fn the_same_secret_is_stored_once_and_tokens_are_listed_by_age() {
    let world = World::start().await;
    let (second, secret) = world
        .database
        .token(TokenScope::Admin, now())
        .await
        .unwrap();
    let again = tokens::NewToken {
        id: TokenId::new(),
        name: "again",
        hash: secret.sha256(),
        scope: TokenScope::Admin,
        now: now(),
        expires_at: now() + Duration::days(1),
    };
    assert!(!tokens::create(world.pool(), &again).await.unwrap());
    let page = tokens::list(world.pool(), None, Limit::new(1).unwrap())
        .await
        .unwrap();
    assert_eq!(page.items[0].id, world.token_id);
    let page = tokens::list(world.pool(), page.next, Limit::new(1).unwrap())
        .await
        .unwrap();
    assert_eq!(page.items[0].id, second);
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn the_audit_log_is_forgotten_by_age() {
    let world = World::start().await;
    for hours in 0..3 {
        let entry = audit::Entry {
            token_id: world.token_id,
            action: "retry",
            subject: "job",
            request_id: RequestId::new(),
            at: now() - Duration::hours(hours),
        };
        audit::record(world.pool(), &entry).await.unwrap();
    }
    let limit = Limit::new(1).unwrap();
    let purge = || audit::purge(world.pool(), now(), limit);
    assert_eq!(purge().await.unwrap(), 1);
    assert_eq!(purge().await.unwrap(), 1);
    assert_eq!(purge().await.unwrap(), 0);
}
