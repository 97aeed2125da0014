//! Each kind of failure has its exit code, says what happened, and what to do.

use shared::domain::TokenScope;
use shared::secret::Secret;
use tests::command_line::Outcome;

use super::world::World;

#[track_caller]
fn check(outcome: &Outcome, code: i32, said: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    assert_eq!(outcome.out, "", "a failure has no result: {outcome:?}");
    for words in said {
        assert!(
            outcome.err.contains(words),
            "{words:?} is not in {outcome:?}"
        );
    }
}

#[tokio::test]
async fn wrong_values_are_refused_with_what_to_do() {
    let world = World::start().await;
    check(&world.ringmaster(&["create"]).await, 2, &["<NAME>"]);
    check(
        &world.ringmaster(&["create", "No_Name"]).await,
        2,
        &["lower-case letters"],
    );
    let unknown_plan = world
        .ringmaster(&["create", "shop", "--plan", "gold"])
        .await;
    check(
        &unknown_plan,
        2,
        &["gold", "→ see the plans: ringmaster plans"],
    );
    let unconfirmed = world.ringmaster(&["destroy", "shop"]).await;
    check(&unconfirmed, 2, &["→ say so with --yes"]);
    let no_url = world.ringmaster(&["list", "--api-url", "ftp://x"]).await;
    check(&no_url, 2, &["ftp://x", "--api-url http://"]);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let world = World::start().await;
    for command in ["info", "url", "psql", "observations", "events", "wait"] {
        let outcome = world.ringmaster(&[command, "ghost"]).await;
        check(
            &outcome,
            3,
            &["ghost", "→ see what there is: ringmaster list"],
        );
    }
    check(
        &world.ringmaster(&["destroy", "ghost", "--yes"]).await,
        3,
        &["ghost"],
    );
}

#[tokio::test]
async fn what_contradicts_is_a_conflict() {
    let world = World::start().await;
    world.create("shop").await;
    let taken = world
        .ringmaster(&["create", "shop", "--plan", "hobby"])
        .await;
    check(&taken, 4, &["taken", "→ choose another name"]);
    let no_url_yet = world.ringmaster(&["url", "shop"]).await;
    check(&no_url_yet, 4, &["shop", "→ wait until it is ready"]);
}

#[tokio::test]
async fn a_token_that_is_missing_wrong_or_too_weak_is_told_apart_from_other_failures() {
    let world = World::start().await;
    let wrong = world.ringmaster_with(&Secret::random(), &["list"]).await;
    check(&wrong, 5, &["→ name a good token with --token-file"]);
    let weak = world.token(TokenScope::Read).await;
    let create = world
        .ringmaster_with(&weak, &["create", "shop", "--plan", "hobby"])
        .await;
    check(&create, 5, &["→ an administrator makes tokens"]);
    let url = world.url();
    let missing = world.ringmaster_alone(&["list", "--api-url", &url]).await;
    check(&missing, 5, &["no token is known"]);
    let file = world
        .ringmaster_alone(&["list", "--api-url", &url, "--token-file", "/no/file"])
        .await;
    check(&file, 5, &["/no/file"]);
}

#[tokio::test]
async fn a_token_among_the_arguments_is_refused() {
    let world = World::start().await;
    let outcome = world.ringmaster(&["list", "--token", "hunter2"]).await;
    check(&outcome, 2, &["--token is refused", "RINGMASTER_TOKEN"]);
    assert!(!outcome.err.contains("hunter2"), "{outcome:?}");
}

#[tokio::test]
async fn an_api_that_does_not_answer_is_unreachable() {
    let world = World::start().await;
    let nowhere = world
        .ringmaster(&["list", "--api-url", "http://127.0.0.1:1"])
        .await;
    check(&nowhere, 6, &["does not answer", "make up"]);
    check(
        &world.ringmaster_alone(&["list"]).await,
        6,
        &["no API is known", "make up"],
    );
    for command in ["status", "down"] {
        check(
            &world.ringmaster_alone(&[command]).await,
            6,
            &["nothing runs", "make up"],
        );
    }
}
