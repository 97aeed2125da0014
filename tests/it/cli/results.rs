//! What commands tell people and programs.

use super::world::World;

#[tokio::test]
async fn a_created_resource_is_listed_shown_and_destroyed() {
    let world = World::start().await;
    let operation = world.create("shop").await;
    assert_eq!(operation["kind"], "create", "{operation}");
    assert_eq!(operation["state"], "pending", "{operation}");

    let listed = world.json(&["list"]).await;
    assert_eq!(listed[0]["name"], "shop", "{listed}");
    assert_eq!(listed[0]["state"], "creating", "{listed}");
    let shown = world.json(&["info", "shop"]).await;
    assert_eq!(shown["id"], operation["resource_id"], "{shown}");

    let destroyed = world.json(&["destroy", "shop", "--yes"]).await;
    assert_eq!(destroyed["kind"], "destroy", "{destroyed}");
    let shown = world.json(&["info", "shop"]).await;
    assert!(shown["destroy_requested_at"].is_string(), "{shown}");
}

#[tokio::test]
async fn tables_for_people_have_a_header_and_a_row_for_each_thing() {
    let world = World::start().await;
    let empty = world.ringmaster(&["list"]).await;
    assert_eq!((empty.code, empty.out.as_str()), (Some(0), ""), "{empty:?}");
    assert!(empty.err.contains("ringmaster create"), "{empty:?}");

    world.create("shop").await;
    let listed = world.ringmaster(&["list"]).await;
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 2, "{listed:?}");
    assert!(
        lines[0].contains("NAME") && lines[0].contains("STATE"),
        "{listed:?}"
    );
    assert!(
        lines[1].contains("shop") && lines[1].contains("creating"),
        "{listed:?}"
    );

    let shown = world.ringmaster(&["info", "shop"]).await;
    assert!(
        shown.out.contains("\nplan                standard\n"),
        "{shown:?}"
    );
    let plans = world.ringmaster(&["plans"]).await;
    assert!(plans.out.contains("premium   not yet"), "{plans:?}");
    for command in ["servers", "ring", "jobs"] {
        let outcome = world.ringmaster(&[command]).await;
        assert_eq!(outcome.code, Some(0), "{command}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_create_that_is_repeated_with_its_key_happens_once() {
    let world = World::start().await;
    let create = [
        "create",
        "shop",
        "--plan",
        "standard",
        "--idempotency-key",
        "one",
    ];
    let first = world.json(&create).await;
    let second = world.json(&create).await;
    assert_eq!(first["id"], second["id"]);
    assert_eq!(
        world.json(&["list"]).await.as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_token_is_made_used_and_taken_back() {
    let world = World::start().await;
    let made = world
        .json(&["tokens", "create", "ci", "--scope", "read"])
        .await;
    let secret = shared::secret::Secret::new(made["secret"].as_str().unwrap());
    let listed = world.ringmaster_with(&secret, &["list"]).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");

    let tokens = world.ringmaster(&["tokens", "list"]).await;
    assert!(tokens.out.contains("ci"), "{tokens:?}");
    assert!(
        !tokens.out.contains(secret.expose()),
        "a secret is shown once"
    );

    let id = made["id"].as_str().unwrap();
    let revoked = world.json(&["tokens", "revoke", id]).await;
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    let refused = world.ringmaster_with(&secret, &["list"]).await;
    assert_eq!(refused.code, Some(5), "{refused:?}");
}

#[tokio::test]
async fn a_dead_job_is_tried_again_by_hand_only_if_it_exists() {
    let world = World::start().await;
    world.create("shop").await;
    let jobs = world.json(&["jobs"]).await;
    assert_eq!(jobs[0]["kind"], "provision", "{jobs}");
    assert_eq!(jobs[0]["resource_name"], "shop", "{jobs}");
    let outcome = world
        .ringmaster(&["jobs", "retry", "provision", "shop"])
        .await;
    assert_eq!(
        outcome.code,
        Some(3),
        "a job that is still tried is not dead: {outcome:?}"
    );
    let outcome = world.ringmaster(&["jobs", "retry", "--all"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[tokio::test]
async fn backups_of_a_new_database_are_none_and_a_capture_says_why_not() {
    let world = World::start().await;
    world.create("shop").await;
    assert_eq!(
        world.json(&["backups", "shop"]).await,
        serde_json::json!([])
    );
    let listed = world.ringmaster(&["backups", "shop"]).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.err.contains("ringmaster capture shop"), "{listed:?}");
    let refused = world.ringmaster(&["capture", "shop", "--wait"]).await;
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(
        refused.err.contains("nothing of it is in the archive"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn completions_need_no_api() {
    let world = World::start().await;
    let outcome = world.ringmaster_alone(&["completions", "bash"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        outcome.out.contains("complete -F _ringmaster"),
        "{}",
        outcome.out
    );
}
