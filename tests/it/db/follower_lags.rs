//! What is noted of followers beside their leaders.

use shared::db::fleet::{FollowerLagRow, follower_health, follower_lags, note_lags};
use shared::ids::ResourceId;
use shared::units::Lsn;

use super::archive::{Fixture, at, later};
use super::backup_followers::follower;

/// Says that `resource` was seen at `lsn`.
async fn observe(fixture: &Fixture, resource: ResourceId, lsn: Lsn, seconds: i64) {
    sqlx::query(
        "insert into observations (resource_id, observed_at, available, body)
         values ($1, $2, true, $3)
         on conflict (resource_id) do update
         set observed_at = excluded.observed_at, body = excluded.body",
    )
    .bind(resource)
    .bind(later(seconds))
    .bind(serde_json::json!({ "wal_lsn": lsn }))
    .execute(fixture.pool())
    .await
    .unwrap();
}

async fn noted(fixture: &Fixture) -> FollowerLagRow {
    note_lags(fixture.pool()).await.unwrap();
    follower_lags(fixture.pool()).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_follower_that_stands_still_is_told_from_one_that_replays() {
    let fixture = Fixture::pushed().await;
    let (resource, _) = follower(&fixture, "reports").await;
    observe(&fixture, fixture.resource, at(100), 1).await;
    observe(&fixture, resource, at(100), 2).await;
    assert_eq!(noted(&fixture).await.stands_since, None, "it has all");
    observe(&fixture, fixture.resource, at(200), 3).await;
    assert_eq!(noted(&fixture).await.stands_since, Some(later(3)));
    observe(&fixture, resource, at(150), 4).await;
    assert_eq!(noted(&fixture).await.stands_since, Some(later(4)));
    observe(&fixture, resource, at(160), 5).await;
    assert_eq!(noted(&fixture).await.stands_since, Some(later(5)));
    for seconds in [6, 60] {
        observe(&fixture, fixture.resource, at(300), seconds).await;
        observe(&fixture, resource, at(160), seconds).await;
        assert_eq!(noted(&fixture).await.stands_since, Some(later(5)));
    }
    let health = follower_health(fixture.pool(), resource).await.unwrap();
    let health = health.unwrap();
    assert_eq!(health.stands, Some((at(160), later(5))));
    assert_eq!(health.watermark, Some(fixture.epoch().await.watermark));
    let leader = health.leader.map(|leader| leader.participant);
    assert_eq!(leader, Some(fixture.participant));
    let none = follower_health(fixture.pool(), fixture.resource).await;
    assert_eq!(none.unwrap(), None, "it is no follower");
    observe(&fixture, resource, at(300), 61).await;
    assert_eq!(noted(&fixture).await.stands_since, None, "it has all");
}

#[tokio::test]
async fn a_follower_is_ahead_only_of_what_its_leader_was_seen_to_have_later() {
    let fixture = Fixture::pushed().await;
    let (resource, _) = follower(&fixture, "reports").await;
    observe(&fixture, fixture.resource, at(100), 1).await;
    observe(&fixture, resource, at(200), 2).await;
    assert!(!noted(&fixture).await.is_ahead);
    observe(&fixture, fixture.resource, at(199), 3).await;
    assert!(noted(&fixture).await.is_ahead);
    observe(&fixture, fixture.resource, at(200), 4).await;
    assert!(!noted(&fixture).await.is_ahead);
}
