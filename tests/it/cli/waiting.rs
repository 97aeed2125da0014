//! Waiting, without a worker that would ever reach the goal.

use super::world::World;

#[tokio::test]
async fn waiting_ends_after_the_time_given() {
    let world = World::start().await;
    let create = [
        "create",
        "shop",
        "--plan",
        "standard",
        "--wait",
        "--timeout",
        "1",
    ];
    let outcome = world.ringmaster(&create).await;
    assert_eq!(outcome.code, Some(7), "{outcome:?}");
    assert_eq!(outcome.out, "", "there is no URL yet: {outcome:?}");
    assert!(outcome.err.contains("create shop …"), "{outcome:?}");
    assert!(
        outcome.err.contains("wait on with: ringmaster wait shop"),
        "{outcome:?}"
    );

    let outcome = world.ringmaster(&["wait", "shop", "--timeout", "1"]).await;
    assert_eq!(outcome.code, Some(7), "{outcome:?}");
    assert!(
        outcome.err.contains("waiting for shop: creating"),
        "{outcome:?}"
    );
}
