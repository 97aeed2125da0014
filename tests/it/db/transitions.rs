//! Transitions: the story of a resource is its own and that of what it is on.

use chrono::{DateTime, Duration, Utc};
use shared::db::Limit;
use shared::db::transitions::{self, NewTransition};
use shared::domain::MachineKind;
use shared::ids::{RequestId, ResourceId};
use sqlx::types::Uuid;

use super::world::{World, now};

impl World {
    async fn step(
        &self,
        machine: MachineKind,
        subject_id: Uuid,
        resource_id: Option<ResourceId>,
        event: &str,
        at: DateTime<Utc>,
    ) {
        let new = NewTransition {
            machine,
            subject_id,
            resource_id,
            from: "before",
            event,
            to: "after",
            why: "because",
            detail: None,
            request_id: RequestId::new(),
            at,
        };
        transitions::insert(self.pool(), &new).await.unwrap();
    }

    async fn story(&self, id: ResourceId, after: Option<i64>, limit: u16) -> Vec<(i64, String)> {
        let limit = Limit::new(limit).unwrap();
        let page = transitions::list_of_resource(self.pool(), id, after, limit)
            .await
            .unwrap();
        page.items
            .into_iter()
            .map(|step| (step.id, step.event))
            .collect()
    }
}

#[tokio::test]
async fn a_story_has_what_happened_under_the_resource_since_it_exists() {
    let world = World::start().await;
    let shop = world.create("shop").await.unwrap().operation.resource_id;
    let blog = world.create("blog").await.unwrap().operation.resource_id;
    let (server, participant) = world.place(shop).await;
    let earlier = now() - Duration::hours(1);

    let (of_server, of_participant) = (server.as_uuid(), participant.as_uuid());
    world
        .step(MachineKind::Server, of_server, None, "long ago", earlier)
        .await;
    world
        .step(
            MachineKind::Resource,
            shop.as_uuid(),
            Some(shop),
            "asked",
            now(),
        )
        .await;
    world
        .step(MachineKind::Server, of_server, None, "went away", now())
        .await;
    world
        .step(
            MachineKind::Participant,
            of_participant,
            Some(shop),
            "died",
            now(),
        )
        .await;
    world
        .step(
            MachineKind::Resource,
            blog.as_uuid(),
            Some(blog),
            "other",
            now(),
        )
        .await;

    let story = world.story(shop, None, 10).await;
    let events: Vec<&str> = story.iter().map(|(_, event)| event.as_str()).collect();
    assert_eq!(events, ["asked", "went away", "died"]);
    assert_eq!(world.story(shop, None, 1).await, story[..1]);
    assert_eq!(world.story(shop, Some(story[0].0), 10).await, story[1..]);

    let limit = Limit::most();
    let of_server = transitions::list_of_subject(world.pool(), of_server, None, limit).await;
    assert_eq!(of_server.unwrap().items.len(), 2);
}
