//! Backups of followers in the control database: which followers may be read, and which of two backups
//! is the newest.

use chrono::TimeDelta;
use shared::archive::sentinel::Sentinel;
use shared::db::Limit;
use shared::db::archive::{
    NewBackup, backups_of, begin_backup, finish_backup, follower_of_backup, followers_to_back_up,
    newest_of_run,
};
use shared::db::fleet::Recorded;
use shared::db::jobs::{self, JobKey};
use shared::domain::{BackupReason, JobKind};
use shared::ids::{BackupId, ParticipantId, RequestId, ResourceId};

use super::archive::{Fixture, at, later};
use super::world::now;

/// A follower of the fixture's leader, as one that serves is on record.
pub(super) async fn follower(fixture: &Fixture, name: &str) -> (ResourceId, ParticipantId) {
    let created = fixture.world.create(name).await.unwrap();
    let resource = created.operation.resource_id;
    let (_, participant) = fixture.world.place(resource).await;
    sqlx::query("update participants set role = 'follower', timeline_id = $2 where id = $1")
        .bind(participant)
        .bind(fixture.timeline)
        .execute(fixture.pool())
        .await
        .unwrap();
    sqlx::query(
        "insert into forks (resource_id, parent_resource_id, parent_timeline_id, asked_at, follows)
        values ($1, $2, $3, $4, true)",
    )
    .bind(resource)
    .bind(fixture.resource)
    .bind(fixture.timeline)
    .bind(now())
    .execute(fixture.pool())
    .await
    .unwrap();
    (resource, participant)
}

async fn eligible(fixture: &Fixture) -> Vec<ParticipantId> {
    let times = (now() - TimeDelta::minutes(1), now());
    let found = followers_to_back_up(fixture.pool(), fixture.timeline, times);
    let found = found.await.unwrap().into_iter();
    found.map(|follower| follower.participant).collect()
}

#[tokio::test]
async fn followers_are_not_backed_up_while_the_newest_proof_has_failed() {
    let fixture = Fixture::archived(500).await;
    let (_, reports) = follower(&fixture, "reports").await;
    fixture.back_up(100, 0).await;
    let proof = "insert into proofs (
            id, timeline_id, state, reason, problem, request_id, asked_at, moved_at, finished_at
        )
        values (gen_random_uuid(), $1, 'failed', 'schedule', $2, gen_random_uuid(), $3, $3, $3)";
    sqlx::query(proof)
        .bind(fixture.timeline)
        .bind("it is damaged")
        .bind(now())
        .execute(fixture.pool())
        .await
        .unwrap();
    // Nobody knows whether what is wrong is wrong at the leader.
    assert_eq!(eligible(&fixture).await, []);
    sqlx::query("update proofs set state = 'wanted', finished_at = null, problem = null")
        .execute(fixture.pool())
        .await
        .unwrap();
    assert_eq!(eligible(&fixture).await, [reports]);
}

/// A backup that was begun.
async fn begin(fixture: &Fixture, participant: ParticipantId) -> BackupId {
    let key = JobKey {
        kind: JobKind::BaseBackup,
        subject_id: fixture.timeline.as_uuid(),
    };
    let asked = jobs::ask(fixture.pool(), key, RequestId::new(), now()).await;
    asked.unwrap();
    let new = NewBackup {
        id: BackupId::new(),
        timeline: fixture.timeline,
        run: fixture.epoch().await.record.run(),
        participant,
        reason: BackupReason::Schedule,
        request_id: RequestId::new(),
        now: now(),
    };
    assert!(begin_backup(fixture.pool(), &new).await.unwrap());
    new.id
}

#[tokio::test]
async fn a_follower_that_stays_one_and_is_not_behind_may_be_backed_up() {
    let fixture = Fixture::archived(500).await;
    let (_, reports) = follower(&fixture, "reports").await;
    assert_eq!(eligible(&fixture).await, [], "the first is the leader's");
    fixture.back_up(100, 0).await;
    assert_eq!(eligible(&fixture).await, [reports]);
    let pool = fixture.pool();
    for (change, back) in [
        (
            "update forks set behind_lsn = 1, behind_since = now() - interval '1 year'",
            "update forks set behind_lsn = null, behind_since = null",
        ),
        (
            "update forks set unfollow_requested_at = now()",
            "update forks set unfollow_requested_at = null",
        ),
        (
            "update forks set replacement_id = (select id from participants limit 1)",
            "update forks set replacement_id = null",
        ),
        (
            "update forks set replaced_id = (select id from participants limit 1)",
            "update forks set replaced_id = null",
        ),
        (
            "update resources set destroy_requested_at = now() where name = 'reports'",
            "update resources set destroy_requested_at = null",
        ),
        (
            "update participants set destroy_requested_at = now() where role = 'follower'",
            "update participants set destroy_requested_at = null",
        ),
        (
            "update participants set state = 'down' where role = 'follower'",
            "update participants set state = 'serving'",
        ),
        // The leader's own is too old, damaged, or that of a follower.
        (
            "update backups set started_at = started_at - interval '4 days'",
            "update backups set started_at = started_at + interval '4 days'",
        ),
        (
            "update backups set damaged_pages = 1",
            "update backups set damaged_pages = 0",
        ),
        (
            "update backups set participant_id =
                (select id from participants where role = 'follower')",
            "update backups set participant_id =
                (select id from participants where role = 'leader')",
        ),
    ] {
        sqlx::query(change).execute(pool).await.unwrap();
        assert_eq!(eligible(&fixture).await, [], "{change}");
        sqlx::query(back).execute(pool).await.unwrap();
        assert_eq!(eligible(&fixture).await, [reports], "{back}");
    }

    // One that was behind a moment ago comes after one that was not.
    sqlx::query("update forks set behind_lsn = 1, behind_since = $1")
        .bind(now())
        .execute(pool)
        .await
        .unwrap();
    let (_, copies) = follower(&fixture, "copies").await;
    assert_eq!(eligible(&fixture).await, [copies, reports]);
}

#[tokio::test]
async fn a_backup_has_its_follower_until_that_follows_no_more() {
    let fixture = Fixture::pushed().await;
    let (_, reports) = follower(&fixture, "reports").await;
    let backup = begin(&fixture, reports).await;
    let found = follower_of_backup(fixture.pool(), backup).await.unwrap();
    assert_eq!(found.map(|found| found.participant), Some(reports));
    let listed = backups_of(fixture.pool(), fixture.resource, None, Limit::most());
    assert!(listed.await.unwrap().items[0].is_of_follower);
    for (change, back) in [
        (
            "update participants set state = 'down' where id = $1",
            "update participants set state = 'serving' where id = $1",
        ),
        (
            "update participants set destroy_requested_at = now() where id = $1",
            "update participants set destroy_requested_at = null where id = $1",
        ),
        (
            "with own as (insert into timelines (id, created_at)
                values (gen_random_uuid(), now()) returning id)
            update participants set role = 'leader', timeline_id = own.id from own
            where participants.id = $1",
            "select $1::uuid",
        ),
    ] {
        let run = |statement| sqlx::query(statement).bind(reports).execute(fixture.pool());
        run(change).await.unwrap();
        let found = follower_of_backup(fixture.pool(), backup).await.unwrap();
        assert_eq!(found, None, "{change}");
        run(back).await.unwrap();
    }
}

#[tokio::test]
async fn of_two_backups_that_begin_at_one_position_the_later_is_the_newest() {
    let fixture = Fixture::pushed().await;
    let (_, reports) = follower(&fixture, "reports").await;
    let record = fixture.epoch().await.record;
    for (taken_from, end) in [(fixture.participant, 300), (reports, 200)] {
        let sentinel = Sentinel {
            backup: begin(&fixture, taken_from).await,
            timeline: fixture.timeline,
            system_identifier: record.system_identifier,
            run: record.run(),
            start_lsn: at(100),
            stop_lsn: at(end),
            started_at: now(),
            stopped_at: now(),
            plain_bytes: 1,
            stored_bytes: 1,
            pieces: 1,
            damaged_pages: 0,
            follower: None,
        };
        let finished = finish_backup(fixture.pool(), &sentinel, later(1)).await;
        assert_eq!(finished.unwrap(), Recorded::Yes);
        let newest = newest_of_run(fixture.pool(), fixture.timeline, record.run()).await;
        let newest = newest.unwrap().unwrap();
        assert_eq!((newest.start_lsn, newest.stop_lsn), (at(100), at(end)));
    }
}
