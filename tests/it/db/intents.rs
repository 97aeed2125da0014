//! What a customer can want: a resource, and its end.

use std::collections::BTreeSet;

use shared::db::idempotency::{self, Key, Replay};
use shared::db::jobs::{self, JobKey};
use shared::db::operations::{self, Operation};
use shared::db::resources::create::CreateError;
use shared::db::resources::destroy::{DestroyRequest, request_destroy};
use shared::db::{Limit, resources};
use shared::domain::{JobKind, JobState, OperationKind, OperationState, ResourceState};
use shared::ids::{OperationId, RequestId, ResourceId};

use super::world::{World, now};

impl World {
    async fn destroy(&self, resource_id: ResourceId) -> Option<Operation> {
        let request = DestroyRequest {
            resource_id,
            operation_id: OperationId::new(),
            token_id: self.token_id,
            request_id: RequestId::new(),
            now: now(),
        };
        let mut transaction = self.pool().begin().await.unwrap();
        let operation = request_destroy(&mut transaction, &request).await.unwrap();
        transaction.commit().await.unwrap();
        operation
    }
}

const fn key(text: &str) -> Key<'_> {
    Key {
        key: text,
        request_hash: [7; 32],
    }
}

#[tokio::test]
async fn a_create_writes_everything_at_once() {
    let world = World::start().await;
    let created = world
        .create_with("shop", "hobby", Some(key("k")))
        .await
        .unwrap();
    assert!(!created.replayed);
    let operation = created.operation;
    assert_eq!(
        operations::get(world.pool(), operation.id).await.unwrap(),
        Some(operation.clone())
    );

    let resource = resources::get_by_name(world.pool(), "shop")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(resource.id, operation.resource_id);
    assert_eq!(resource.state, ResourceState::Creating);
    assert_eq!(resource.request_id, operation.request_id);
    assert!(resource.deadline_at.is_some());

    let job = JobKey {
        kind: JobKind::Provision,
        subject_id: resource.id.as_uuid(),
    };
    let job = jobs::get(world.pool(), job).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Pending, 0));
    assert_eq!(job.resource_name.as_deref(), Some("shop"));

    let answer = idempotency::replay(world.pool(), world.token_id, Some(key("k")))
        .await
        .unwrap();
    assert_eq!(answer, Replay::Answered(operation));
    let audited: Vec<(String, String)> = sqlx::query_as("select action, subject from audit")
        .fetch_all(world.pool())
        .await
        .unwrap();
    assert_eq!(audited, [("create".to_owned(), "resource shop".to_owned())]);
}

#[tokio::test]
async fn a_refused_create_writes_nothing() {
    let world = World::start().await;
    world
        .create_with("shop", "hobby", Some(key("used")))
        .await
        .unwrap();
    let before = world.database.row_counts().await.unwrap();

    let taken = world
        .create_with("shop", "hobby", Some(key("fresh")))
        .await
        .unwrap_err();
    assert!(matches!(taken, CreateError::NameTaken(_)), "{taken:?}");
    let not_offered = world
        .create_with("blog", "premium", None)
        .await
        .unwrap_err();
    assert!(
        matches!(not_offered, CreateError::PlanNotOffered(_)),
        "{not_offered:?}"
    );
    let unknown = world.create_with("blog", "gold", None).await.unwrap_err();
    assert!(
        matches!(unknown, CreateError::PlanNotOffered(_)),
        "{unknown:?}"
    );
    let other = Some(Key {
        key: "used",
        request_hash: [8; 32],
    });
    for name in ["shop", "blog"] {
        let reused = world.create_with(name, "hobby", other).await.unwrap_err();
        assert!(matches!(reused, CreateError::KeyReused), "{reused:?}");
    }

    assert_eq!(world.database.row_counts().await.unwrap(), before);
}

#[tokio::test]
async fn the_same_create_gets_the_same_answer_even_when_the_name_is_free_again() {
    let world = World::start().await;
    let first = world
        .create_with("shop", "hobby", Some(key("k")))
        .await
        .unwrap();
    let again = world
        .create_with("shop", "hobby", Some(key("k")))
        .await
        .unwrap();
    assert!(again.replayed);
    assert_eq!(again.operation, first.operation);

    sqlx::query("update resources set state = 'deprovisioned', deadline_at = null")
        .execute(world.pool())
        .await
        .unwrap();
    let late = world
        .create_with("shop", "hobby", Some(key("k")))
        .await
        .unwrap();
    assert_eq!(late.operation.id, first.operation.id);
    let anew = world
        .create_with("shop", "hobby", Some(key("another")))
        .await
        .unwrap();
    assert_ne!(anew.operation.resource_id, first.operation.resource_id);
}

#[tokio::test]
async fn many_twins_at_once_create_one_resource() {
    let world = World::start().await;
    let twins = (0..16).map(|_| world.create_with("shop", "hobby", Some(key("k"))));
    let answers = futures::future::join_all(twins).await;
    let ids: BTreeSet<OperationId> = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().operation.id)
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        answers
            .iter()
            .filter(|answer| !answer.as_ref().unwrap().replayed)
            .count(),
        1
    );

    // Without a key, one wins and the others are told.
    let rivals = (0..16).map(|_| world.create("blog"));
    let answers = futures::future::join_all(rivals).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let resources = resources::list(world.pool(), None, Limit::most())
        .await
        .unwrap();
    assert_eq!(resources.items.len(), 2);
}

#[tokio::test]
async fn a_destroy_is_decided_once_and_fails_a_pending_create() {
    let world = World::start().await;
    let create = world.create("shop").await.unwrap().operation;
    let destroy = world.destroy(create.resource_id).await.unwrap();
    assert_eq!(
        (destroy.kind, destroy.state),
        (OperationKind::Destroy, OperationState::Pending)
    );

    let create = operations::get(world.pool(), create.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(create.state, OperationState::Failed);
    assert_eq!(create.error.as_deref(), Some("the resource was destroyed"));
    let resource = resources::get(world.pool(), create.resource_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(resource.destroy_requested_at, Some(now()));
    assert_eq!(
        resource.state,
        ResourceState::Creating,
        "the machine goes on from here"
    );
    let job = JobKey {
        kind: JobKind::Deprovision,
        subject_id: resource.id.as_uuid(),
    };
    assert!(jobs::get(world.pool(), job).await.unwrap().is_some());

    let before = world.database.row_counts().await.unwrap();
    assert_eq!(
        world.destroy(create.resource_id).await.unwrap().id,
        destroy.id
    );
    assert_eq!(world.database.row_counts().await.unwrap(), before);
}

#[tokio::test]
async fn a_destroy_makes_a_turn_under_way_start_over() {
    let world = World::start().await;
    let id = world.create("shop").await.unwrap().operation.resource_id;
    world.destroy(id).await.unwrap();
    let version: i64 = sqlx::query_scalar("select version from resources")
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(version, 2);
}

#[tokio::test]
async fn what_is_gone_cannot_be_destroyed() {
    let world = World::start().await;
    assert_eq!(world.destroy(ResourceId::new()).await, None);
    let id = world.create("shop").await.unwrap().operation.resource_id;
    sqlx::query("update resources set state = 'deprovisioned', deadline_at = null")
        .execute(world.pool())
        .await
        .unwrap();
    let before = world.database.row_counts().await.unwrap();
    assert_eq!(world.destroy(id).await, None);
    assert_eq!(world.database.row_counts().await.unwrap(), before);
}

#[tokio::test]
async fn an_operation_ends_once() {
    let world = World::start().await;
    let create = world.create("shop").await.unwrap().operation;
    let finish = |error| {
        let kind = OperationKind::Create;
        operations::finish(world.pool(), create.resource_id, kind, error, now())
    };
    assert!(finish(None).await.unwrap());
    assert!(!finish(Some("too late")).await.unwrap());
    let ended = operations::get(world.pool(), create.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (ended.state, ended.finished_at),
        (OperationState::Succeeded, Some(now()))
    );
}

#[tokio::test]
async fn lists_go_through_everything_page_by_page() {
    let world = World::start().await;
    for number in 0..5 {
        world.create(&format!("shop-{number}")).await.unwrap();
    }
    let limit = Limit::new(2).unwrap();
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = resources::list(world.pool(), after, limit).await.unwrap();
        names.extend(page.items.into_iter().map(|resource| resource.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["shop-0", "shop-1", "shop-2", "shop-3", "shop-4"]);

    let (mut names, mut before) = (Vec::new(), None);
    loop {
        let page = operations::list(world.pool(), None, before, limit)
            .await
            .unwrap();
        names.extend(
            page.items
                .into_iter()
                .map(|operation| operation.resource_name),
        );
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(names, ["shop-4", "shop-3", "shop-2", "shop-1", "shop-0"]);
}

#[tokio::test]
async fn old_idempotency_keys_are_forgotten_in_batches() {
    let world = World::start().await;
    for number in 0..3 {
        let text = format!("k{number}");
        world
            .create_with(&format!("shop-{number}"), "hobby", Some(key(&text)))
            .await
            .unwrap();
    }
    let limit = Limit::new(2).unwrap();
    let purge = |before| idempotency::purge(world.pool(), before, limit);
    assert_eq!(purge(now()).await.unwrap(), 0);
    let later = now() + chrono::Duration::days(1);
    assert_eq!(purge(later).await.unwrap(), 2);
    assert_eq!(purge(later).await.unwrap(), 1);
    assert_eq!(purge(later).await.unwrap(), 0);
}
