//! Secrets of the control plane are made once; ring epochs only grow.

use shared::db::{control_secrets, resources, ring_epochs};
use shared::ids::ResourceId;

use super::world::{World, now};

#[tokio::test]
async fn of_two_secrets_made_at_once_both_get_the_first() {
    let world = World::start().await;
    let make = async |value: &[u8]| {
        let mut connection = world.pool().acquire().await.unwrap();
        control_secrets::get_or_insert(&mut connection, "ca_key", value, now())
            .await
            .unwrap()
    };
    assert_eq!(
        control_secrets::get(world.pool(), "ca_key").await.unwrap(),
        None
    );
    let (a, b) = tokio::join!(make(b"one"), make(b"two"));
    assert_eq!(a, b);
    assert_eq!(make(b"three").await, a);
    assert_eq!(
        control_secrets::get(world.pool(), "ca_key").await.unwrap(),
        Some(a)
    );
}

#[tokio::test]
async fn ring_epochs_grow() {
    let world = World::start().await;
    let first = ring_epochs::next(world.pool()).await.unwrap();
    let second = ring_epochs::next(world.pool()).await.unwrap();
    assert!(second > first && first >= 1, "{first} {second}");
}

#[tokio::test]
async fn credentials_are_there_once_all_of_them_are() {
    let world = World::start().await;
    let id = world.create("shop").await.unwrap().operation.resource_id;
    world.place(id).await;
    assert_eq!(
        resources::credentials(world.pool(), id).await.unwrap(),
        None
    );
    sqlx::query("update resources set password = 'sealed', verifier = 'sealed'")
        .execute(world.pool())
        .await
        .unwrap();
    let credentials = resources::credentials(world.pool(), id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(credentials.password, b"sealed");
    assert_eq!(credentials.endpoint_port, 7002);
    assert_eq!(
        credentials.endpoint_database,
        format!("shop_{}", id.as_uuid().simple())
    );
    assert_eq!(
        resources::credentials(world.pool(), ResourceId::new())
            .await
            .unwrap(),
        None
    );
}
