//! Base backups: asked for, listed, and what they make restorable.

use http::Method;
use serde_json::json;
use shared::archive::epoch::EpochRecord;
use shared::db::archive::{Position, Progress, advance, begin_epoch, current_epoch};
use shared::domain::{JobKind, TokenScope};
use shared::ids::{ParticipantId, RequestId, TimelineId};
use shared::queue::Member;
use shared::units::Lsn;

use super::world::{World, now};

/// Puts the first WAL of a participant into the archive, as a worker would.
pub(super) async fn archive(world: &World, participant: ParticipantId) -> TimelineId {
    let pool = &world.database.pool;
    let timeline = sqlx::query_scalar("select timeline_id from participants where id = $1")
        .bind(participant)
        .fetch_one(pool)
        .await
        .unwrap();
    let record = EpochRecord {
        timeline,
        number: 1,
        system_identifier: 7,
        tli: 1,
        segment_bytes: 16 << 20,
        start: Lsn::from_bytes(16 << 20),
        participant,
        generation: 1,
        parent: None,
        created_at: now(),
    };
    begin_epoch(pool, &record, RequestId::new(), now())
        .await
        .unwrap();
    let epoch = current_epoch(pool, timeline).await.unwrap().unwrap();
    let progress = Progress {
        to: Position {
            watermark: Lsn::from_bytes((16 << 20) + 5000),
            tail: None,
            compacted: epoch.compacted,
        },
        retry: None,
        flush: Lsn::from_bytes((16 << 20) + 5000),
        looked_at: Some(now()),
    };
    let recorded = advance(pool, &epoch, &progress, now()).await.unwrap();
    assert!(!recorded.is_overtaken());
    timeline
}

#[tokio::test]
async fn a_backup_is_asked_for_once_and_shown_while_it_is_made() {
    let world = World::start().await;
    let created = world.create("shop").await;
    let path = "/v1/resources/shop/backups";
    let post = async || world.call(Method::POST, path, TokenScope::Write).await;
    let early = post().await;
    assert_eq!(early.status, 409, "{early:?}");
    assert_eq!(early.code(), "not_ready");
    let empty = json!({ "data": [], "next": null });
    assert_eq!(world.get(path).await.json(), empty);

    let (_, participant) = world.make_available(created.resource_id).await;
    let timeline = archive(&world, participant).await;
    let first = post().await;
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(first.json()["kind"], "capture");
    assert_eq!(post().await.json()["id"], first.json()["id"]);
    let (ring, member) = Member::of_job(JobKind::BaseBackup, timeline.as_uuid());
    world.wait_for_member(ring, member).await;

    sqlx::query(
        "insert into backups (id, timeline_id, epoch_number, tli, participant_id, reason,
            started_at, moved_at, request_id, bytes_done, bytes_total)
         values ($1, $2, 1, 1, $3, 'request', $4, $4, $1, 250, 1000)",
    )
    .bind(RequestId::new())
    .bind(timeline)
    .bind(participant)
    .bind(now())
    .execute(&world.database.pool)
    .await
    .unwrap();
    let listed = world.get(path).await.json();
    let running = &listed["data"][0];
    assert_eq!(running["state"], "running", "{listed}");
    assert_eq!(
        (&running["bytes_done"], &running["bytes_total"]),
        (&json!(250), &json!(1000))
    );
    let shown = world.get("/v1/resources/shop").await.json();
    assert_eq!(shown["protection"]["windows"], json!([]), "{shown}");

    sqlx::query(
        "update backups
         set state = 'finished', start_lsn = 16777300, stop_lsn = 16777400, plain_bytes = 1000,
            stored_bytes = 100, pieces = 1, damaged_pages = 0, stopped_at = $1, finished_at = $1",
    )
    .bind(now())
    .execute(&world.database.pool)
    .await
    .unwrap();
    let shown = world.get("/v1/resources/shop").await.json();
    let protection = &shown["protection"];
    assert_eq!(protection["backups"], 1, "{shown}");
    assert_eq!(protection["windows"][0]["from_lsn"], "0/10000B8", "{shown}");
    assert_eq!(protection["windows"][0]["to_lsn"], "0/1001388", "{shown}");
    assert_eq!(protection["windows"][1], json!(null), "{shown}");
}
