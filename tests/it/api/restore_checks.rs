//! Proofs by a restore: asked for, followed and shown.

use http::Method;
use serde_json::json;
use shared::db::archive::{Ended, end_proof};
use shared::domain::{JobKind, TokenScope};
use shared::ids::{ParticipantId, ProofId, RequestId, TimelineId};
use shared::queue::Member;
use shared::units::Lsn;

use super::backups::archive;
use super::world::{World, now};

const PATH: &str = "/v1/resources/shop/restore-checks";

/// A backup that is complete, as a worker would record it.
async fn back_up(world: &World, timeline: TimelineId, participant: ParticipantId) {
    sqlx::query(
        "insert into backups (id, timeline_id, epoch_number, tli, participant_id, reason,
            started_at, moved_at, request_id, bytes_done, bytes_total, state, start_lsn, stop_lsn,
            plain_bytes, stored_bytes, pieces, damaged_pages, stopped_at, finished_at)
         values ($1, $2, 1, 1, $3, 'request', $4, $4, $1, 1000, 1000, 'finished', 16777300,
            16777400, 1000, 100, 1, 0, $4, $4)",
    )
    .bind(RequestId::new())
    .bind(timeline)
    .bind(participant)
    .bind(now())
    .execute(&world.database.pool)
    .await
    .unwrap();
}

/// Ends the proof under way.
async fn end(world: &World, timeline: TimelineId, result: Result<Lsn, &str>) {
    let pool = &world.database.pool;
    let running = "select id from proofs where state not in ('succeeded', 'failed')";
    let proof: ProofId = sqlx::query_scalar(running).fetch_one(pool).await.unwrap();
    let ended = Ended {
        proof,
        timeline,
        result,
        now: now(),
    };
    let mut transaction = pool.begin().await.unwrap();
    let recorded = end_proof(&mut transaction, &ended).await.unwrap();
    assert!(!recorded.is_overtaken());
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_proof_is_asked_for_once_and_shown_with_its_end() {
    let world = World::start().await;
    let created = world.create("shop").await;
    let post = async || world.call(Method::POST, PATH, TokenScope::Write).await;
    let (_, participant) = world.make_available(created.resource_id).await;
    let timeline = archive(&world, participant).await;
    let early = post().await;
    assert_eq!(early.status, 409, "{early:?}");
    assert_eq!(early.code(), "not_ready");
    let shown = world.get("/v1/resources/shop").await.json();
    assert_eq!(shown["protection"]["last_proof"], json!(null), "{shown}");
    assert_eq!(shown["protection"]["open_proof"], json!(null), "{shown}");

    back_up(&world, timeline, participant).await;
    let first = post().await;
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(first.json()["kind"], "restore_check");
    assert_eq!(post().await.json()["id"], first.json()["id"]);
    let (ring, member) = Member::of_job(JobKind::Verify, timeline.as_uuid());
    world.wait_for_member(ring, member).await;
    let shown = world.get("/v1/resources/shop").await.json();
    let open = &shown["protection"]["open_proof"];
    assert_eq!(open["state"], "wanted", "{shown}");

    end(&world, timeline, Err("a piece is damaged")).await;
    let path = format!("/v1/operations/{}", first.json()["id"].as_str().unwrap());
    let ended = world.get(&path).await.json();
    assert_eq!(ended["state"], "failed", "{ended}");
    assert_eq!(ended["error"], "a piece is damaged");
    let shown = world.get("/v1/resources/shop").await.json();
    let open = &shown["protection"]["open_proof"];
    assert_eq!(open["problem"], "a piece is damaged", "{shown}");
    assert_eq!(shown["protection"]["last_proof"], json!(null), "{shown}");
    // What failed can be asked for again, and is another one.
    assert_ne!(post().await.json()["id"], first.json()["id"]);
}
