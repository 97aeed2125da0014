//! Copies: asked for, refused with what can be restored, shown.

use serde_json::{Value, json};
use shared::domain::TokenScope;
use shared::ids::{BackupId, ParticipantId, RequestId, ResourceId};

use super::backups::archive;
use super::world::{World, now};

const PATH: &str = "/v1/resources/shop/forks";

/// A database with a window from 0/10000B8 to 0/1001388, and from now on in time.
pub(super) async fn restorable(world: &World) -> (ResourceId, ParticipantId) {
    let created = world.create("shop").await;
    let (_, participant) = world.make_available(created.resource_id).await;
    let timeline = archive(world, participant).await;
    sqlx::query(
        "insert into backups (id, timeline_id, epoch_number, tli, participant_id, reason, state,
            started_at, moved_at, request_id, bytes_done, bytes_total, start_lsn, stop_lsn,
            plain_bytes, stored_bytes, pieces, damaged_pages, stopped_at, finished_at)
         values ($1, $2, 1, 1, $3, 'request', 'finished', $4, $4, $5, 1000, 1000, 16777300,
            16777400, 1000, 100, 1, 0, $4, $4)",
    )
    .bind(BackupId::new())
    .bind(timeline)
    .bind(participant)
    .bind(now())
    .bind(RequestId::new())
    .execute(&world.database.pool)
    .await
    .unwrap();
    (created.resource_id, participant)
}

async fn forks(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from forks")
        .fetch_one(&world.database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_copy_is_asked_for_and_shown() {
    let world = World::start().await;
    let (original, _) = restorable(&world).await;
    let body = json!({ "name": "staging", "lsn": "0/1001000" });
    let answer = world.post(PATH, TokenScope::Write, &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["kind"], "create");
    assert_eq!(answer.json()["resource_name"], "staging");
    let shown = world.get("/v1/resources/staging").await.json();
    let fork = &shown["fork"];
    assert_eq!(fork["parent_id"], json!(original), "{shown}");
    assert_eq!(fork["parent_name"], "shop");
    assert_eq!(fork["target_lsn"], "0/1001000");
    assert_eq!(fork["target_at"], Value::Null);
    assert_eq!(fork["planned_at"], Value::Null);
    assert_eq!(shown["plan"], "standard");
    let shown = world.get("/v1/resources/shop").await.json();
    assert_eq!(shown["fork"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_with_what_can() {
    let world = World::start().await;
    restorable(&world).await;
    let window = "what can be restored is from";
    let rows = [
        (
            json!({ "to": "2001-01-01 00:00:00+00" }),
            "invalid_target",
            window,
        ),
        (
            json!({ "to": "2099-01-01 00:00:00+00" }),
            "invalid_target",
            window,
        ),
        (
            json!({ "to": "2001-01-01T02:00:00+02:00" }),
            "invalid_target",
            window,
        ),
        (
            json!({ "to": "2026-11-22 10:15:00" }),
            "invalid_target",
            "time zone",
        ),
        (json!({ "to": "yesterday" }), "invalid_target", "time zone"),
        (
            json!({ "ago_s": 4_000_000_000_u32 }),
            "invalid_target",
            window,
        ),
        (json!({ "lsn": "0/1000000" }), "invalid_target", window),
        (json!({ "lsn": "F/0" }), "invalid_target", window),
        (json!({ "lsn": "here" }), "invalid_target", "0/3000060"),
        (
            json!({ "lsn": "0/1001000", "ago_s": 1 }),
            "invalid_target",
            "only one of",
        ),
        (json!({ "plan": "gold" }), "unknown_plan", "gold"),
        (json!({ "name": "Staging" }), "invalid_name", "Staging"),
        (json!({ "name": "shop" }), "name_taken", "shop"),
        (json!({ "when": "now" }), "invalid_request", "when"),
    ];
    for (fields, code, says) in rows {
        let mut body = json!({ "name": "staging" });
        for (field, value) in fields.as_object().unwrap() {
            body[field] = value.clone();
        }
        let answer = world.post(PATH, TokenScope::Write, &body).await;
        assert_eq!(answer.code(), code, "{body}: {answer:?}");
        assert!(answer.text.contains(says), "{body}: {answer:?}");
    }
    assert_eq!(forks(&world).await, 0);
}

#[tokio::test]
async fn a_copy_of_what_is_not_archived_is_refused() {
    let world = World::start().await;
    let created = world.create("shop").await;
    let body = json!({ "name": "staging" });
    let answer = world.post(PATH, TokenScope::Write, &body).await;
    assert_eq!(answer.code(), "not_ready", "{answer:?}");
    world.make_available(created.resource_id).await;
    let answer = world.post(PATH, TokenScope::Write, &body).await;
    assert_eq!(answer.code(), "not_ready", "{answer:?}");

    assert_eq!(forks(&world).await, 0);
}

/// Whether the copy that is asked for by `body` is brought over from a hidden instance.
async fn is_by_transfer(world: &World, body: &Value) -> bool {
    let answer = world.post(PATH, TokenScope::Write, body).await;
    assert_eq!(answer.status, 202, "{body}: {answer:?}");
    sqlx::query_scalar(
        "select by_transfer from forks
         join resources on resources.id = forks.resource_id
         where resources.name = $1",
    )
    .bind(body["name"].as_str())
    .fetch_one(&world.database.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_copy_that_shares_a_server_or_is_of_one_that_does_is_brought_over() {
    let world = World::start().await;
    restorable(&world).await;
    assert!(!is_by_transfer(&world, &json!({ "name": "a" })).await);
    assert!(is_by_transfer(&world, &json!({ "name": "b", "plan": "hobby" })).await);
    sqlx::query("update resources set plan = 'hobby' where name = 'shop'")
        .execute(&world.database.pool)
        .await
        .unwrap();
    assert!(is_by_transfer(&world, &json!({ "name": "c" })).await);
    assert!(is_by_transfer(&world, &json!({ "name": "d", "plan": "standard" })).await);
}

#[tokio::test]
async fn a_copy_as_of_a_moment_before_the_database_was_there_is_refused() {
    let world = World::start().await;
    restorable(&world).await;
    // Its server is older.
    sqlx::query("update resources set created_at = now() + interval '1 day' where name = 'shop'")
        .execute(&world.database.pool)
        .await
        .unwrap();
    let body = json!({ "name": "staging", "ago_s": 0 });
    let answer = world.post(PATH, TokenScope::Write, &body).await;
    assert_eq!(answer.code(), "invalid_target", "{answer:?}");
    assert!(answer.text.contains("shop was made at"), "{answer:?}");
    assert_eq!(forks(&world).await, 0);
}
