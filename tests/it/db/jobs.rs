//! Jobs: asked for once, tried until they are dead, revived by hand.

use shared::db::Limit;
use shared::db::jobs::{self, JobKey};
use shared::domain::{JobKind, JobState};
use shared::ids::{RequestId, ResourceId};

use super::world::{World, now};

fn key(kind: JobKind) -> JobKey {
    JobKey {
        kind,
        subject_id: ResourceId::new().as_uuid(),
    }
}

#[tokio::test]
async fn a_job_is_there_once() {
    let world = World::start().await;
    let key = key(JobKind::Recover);
    assert!(
        jobs::ask(world.pool(), key, RequestId::new(), now())
            .await
            .unwrap()
    );
    assert!(
        !jobs::ask(world.pool(), key, RequestId::new(), now())
            .await
            .unwrap()
    );
    assert!(jobs::finish(world.pool(), key).await.unwrap());
    assert!(!jobs::finish(world.pool(), key).await.unwrap());
    assert_eq!(jobs::get(world.pool(), key).await.unwrap(), None);
}

#[tokio::test]
async fn a_job_dies_of_too_many_failures_in_a_row_and_is_revived_by_hand() {
    let world = World::start().await;
    let key = key(JobKind::Provision);
    let fail = || jobs::record_failure(world.pool(), key, "no server", Some(2), now());
    assert_eq!(fail().await.unwrap(), None, "there is no such job");
    jobs::ask(world.pool(), key, RequestId::new(), now())
        .await
        .unwrap();

    assert_eq!(fail().await.unwrap(), Some((JobState::Pending, 1)));
    jobs::record_progress(world.pool(), key, now())
        .await
        .unwrap();
    assert_eq!(
        fail().await.unwrap(),
        Some((JobState::Pending, 1)),
        "not in a row"
    );
    assert_eq!(fail().await.unwrap(), Some((JobState::Dead, 2)));

    let dead = jobs::list(world.pool(), Some(JobState::Dead), None, Limit::most())
        .await
        .unwrap();
    assert_eq!(dead.items.len(), 1);
    assert_eq!(dead.items[0].last_error.as_deref(), Some("no server"));
    let pending = jobs::pending(world.pool(), JobKind::ALL, None, Limit::most())
        .await
        .unwrap();
    assert_eq!(pending.items, []);

    assert!(jobs::retry(world.pool(), key, now()).await.unwrap());
    let job = jobs::get(world.pool(), key).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Pending, 0));
    assert!(
        !jobs::retry(world.pool(), self::key(JobKind::Provision), now())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_job_without_a_maximum_is_tried_for_ever() {
    let world = World::start().await;
    let key = key(JobKind::WalPush);
    jobs::ask(world.pool(), key, RequestId::new(), now())
        .await
        .unwrap();
    for attempt in 1..=50 {
        let failed = jobs::record_failure(world.pool(), key, "503", None, now()).await;
        assert_eq!(failed.unwrap(), Some((JobState::Pending, attempt)));
    }
}

#[tokio::test]
async fn pending_jobs_of_other_kinds_do_not_fill_a_page() {
    let world = World::start().await;
    let wanted = key(JobKind::WalPush);
    for key in [key(JobKind::Provision), key(JobKind::Recover), wanted] {
        jobs::ask(world.pool(), key, RequestId::new(), now())
            .await
            .unwrap();
    }
    let limit = Limit::new(1).unwrap();
    let page = jobs::pending(world.pool(), &[JobKind::WalPush], None, limit)
        .await
        .unwrap();
    assert_eq!((page.items, page.next), (vec![wanted], None));
}

#[tokio::test]
async fn every_pending_job_is_found_page_by_page() {
    let world = World::start().await;
    let mut asked = Vec::new();
    for kind in JobKind::ALL {
        for _ in 0..2 {
            let key = key(*kind);
            jobs::ask(world.pool(), key, RequestId::new(), now())
                .await
                .unwrap();
            asked.push(key);
        }
    }
    let (mut found, mut listed, mut after) = (Vec::new(), Vec::new(), None);
    let limit = Limit::new(4).unwrap();
    loop {
        let page = jobs::pending(world.pool(), JobKind::ALL, after, limit)
            .await
            .unwrap();
        let jobs = jobs::list(world.pool(), None, after, limit).await.unwrap();
        listed.extend(jobs.items.iter().map(jobs::Job::key));
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, found);
    found.sort_unstable();
    asked.sort_unstable();
    assert_eq!(found, asked);
}
