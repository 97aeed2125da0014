//! What operators see and do: servers, rings, jobs.

use std::time::Duration;

use http::Method;
use shared::db::jobs::{self, JobKey};
use shared::domain::{JobKind, JobState, TokenScope};
use shared::http_api::{Job, Page, RingStats, Server};
use shared::queue::{Member, MemberKind, Queue, QueueConfig, Ring};

use super::world::{World, now};

#[tokio::test]
async fn servers_show_what_is_on_them() {
    let world = World::start().await;
    let id = world.create("shop").await.resource_id;
    let (server, participant) = world.make_available(id).await;
    let page: Page<Server> = serde_json::from_str(&world.get("/v1/servers").await.text).unwrap();
    assert_eq!(page.data.len(), 1);
    assert_eq!((page.data[0].id, page.data[0].resources), (server, 1));
    assert_eq!(page.data[0].participant.as_ref().unwrap().id, participant);
}

#[tokio::test]
async fn the_rings_are_counted() {
    let world = World::start().await;
    let queue = Queue::connect(QueueConfig::single(world.redis.url()).unwrap())
        .await
        .unwrap();
    for shard in queue.shards(Ring::Jobs) {
        queue.begin(shard, 1).await.unwrap();
    }
    let member = Member::new(MemberKind::Provision, shared::ids::ResourceId::new().into());
    queue
        .enter(Ring::Jobs, &[(member, Duration::from_hours(1))])
        .await
        .unwrap();
    let page: Page<RingStats> = serde_json::from_str(&world.get("/v1/ring").await.text).unwrap();
    let rings: Vec<&str> = page.data.iter().map(|ring| ring.ring.as_str()).collect();
    assert_eq!(rings, ["urgent", "ring", "jobs", "archive"]);
    let [urgent, _, jobs, _] = &page.data[..] else {
        panic!("{page:?}")
    };
    assert_eq!((jobs.size, jobs.due, jobs.shards_missing), (1, 0, 0));
    assert_eq!((urgent.size, urgent.shards_missing), (0, urgent.shards));
}

#[tokio::test]
async fn a_dead_job_is_listed_and_retried() {
    let world = World::start().await;
    let id = world.create("shop").await.resource_id;
    let key = JobKey {
        kind: JobKind::Provision,
        subject_id: id.into(),
    };
    let pool = &world.database.pool;
    jobs::record_failure(pool, key, "no server", Some(1), now())
        .await
        .unwrap();

    let list = async |query: &str| {
        let answer = world.get(&format!("/v1/jobs{query}")).await;
        serde_json::from_str::<Page<Job>>(&answer.text)
            .unwrap()
            .data
    };
    assert_eq!(list("?state=pending").await, []);
    let dead = list("?state=dead").await;
    assert_eq!(dead[0].resource_name.as_deref(), Some("shop"));
    assert_eq!(dead[0].last_error.as_deref(), Some("no server"));
    let after = format!("?after=provision:{id}");
    assert_eq!(list(&after).await, []);

    let path = format!("/v1/jobs/provision/{id}/retry");
    let answer = world.call(Method::POST, &path, TokenScope::Admin).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let job: Job = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Pending, 0));
    let member = Member::new(MemberKind::Provision, id.into());
    world.wait_for_member(Ring::Jobs, member).await;
    let audited: Vec<String> =
        sqlx::query_scalar("select subject from audit where action = 'retry'")
            .fetch_all(pool)
            .await
            .unwrap();
    assert_eq!(audited, [format!("job provision {id}")]);
}
