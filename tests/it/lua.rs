//! The scripts of the queue against a real Redis: each has a module of its name.

mod bad_connections;
mod begin;
mod claim;
mod contention;
mod enter;
mod extend;
mod footprint;
mod heartbeat;
mod leave;
mod live_workers;
mod lost_data;
mod members;
mod model;
mod sentinel;
mod settle;
mod stats;
mod wake;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::redis_server::{RedisServer, slow_relay};

/// The parts of the header of a script, in their order.
const HEADER: [&str; 6] = [
    "KEYS     1 ",
    "ARGV     1 ",
    "Returns  ",
    "Cost     ",
    "Keeps    ",
    "]]",
];

#[tokio::test]
async fn a_redis_of_the_tests_own_can_be_flushed_rolled_back_paused_and_slowed() {
    let mut server = RedisServer::start().await.unwrap();
    let () = server.command(&["SET", "a", "1"]).await.unwrap();
    let copy = server.save_copy().await.unwrap();
    server.flush().await.unwrap();
    let a: Option<String> = server.command(&["GET", "a"]).await.unwrap();
    assert_eq!(a, None);
    server.restart_from_copy(&copy).await.unwrap();
    let a: Option<String> = server.command(&["GET", "a"]).await.unwrap();
    assert_eq!(a.as_deref(), Some("1"));
    server.restart_empty().await.unwrap();
    let a: Option<String> = server.command(&["GET", "a"]).await.unwrap();
    assert_eq!(a, None);

    server.pause().unwrap();
    let answer = tokio::time::timeout(
        Duration::from_millis(100),
        server.command::<String>(&["PING"]),
    );
    assert!(answer.await.is_err());
    server.resume().unwrap();
    let pong: String = server.command(&["PING"]).await.unwrap();
    assert_eq!(pong, "PONG");

    let relay = slow_relay(server.port(), Duration::from_millis(50))
        .await
        .unwrap();
    let begin = tokio::time::Instant::now();
    let pong: String = tests::redis_server::command(relay.port, &["PING"])
        .await
        .unwrap();
    assert_eq!(pong, "PONG");
    assert!(begin.elapsed() >= Duration::from_millis(50));
}

/// Every script with its name and text.
fn scripts() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/src/queue/lua");
    let mut scripts: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path: PathBuf| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert_eq!(path.extension().unwrap(), "lua", "{path:?}");
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    scripts.sort();
    assert!(scripts.len() > 5);
    scripts
}

/// The numbers `n` of all `<word>[n]` in a text.
fn subscripts(text: &str, word: &str) -> BTreeSet<usize> {
    text.match_indices(&format!("{word}["))
        .filter_map(|(at, found)| text[at + found.len()..].split(']').next()?.parse().ok())
        .collect()
}

#[test]
fn every_script_begins_with_a_header_in_the_fixed_form() {
    for (name, text) in scripts() {
        assert!(
            text.starts_with(&format!("--[[\n{name}: ")),
            "{name}: its name and purpose"
        );
        let mut rest = text.as_str();
        for part in HEADER {
            let at = rest.find(&format!("\n{part}"));
            let at = at.unwrap_or_else(|| panic!("{name}: {part:?} is missing or misplaced"));
            rest = &rest[at + 1..];
        }
        let long = text.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{name}: a line is too long");
    }
}

#[test]
fn every_key_of_a_script_is_described_and_named_before_its_body() {
    for (name, text) in scripts() {
        let (header, code) = text.split_once("]]\n").unwrap();
        let keys = header
            .split_once("\nKEYS")
            .unwrap()
            .1
            .split_once("\nARGV")
            .unwrap()
            .0;
        let described: BTreeSet<usize> = keys
            .lines()
            .filter_map(|line| line.trim().split(' ').next()?.parse().ok())
            .collect();
        let (locals, body) = code.split_once("\n\n").unwrap();
        assert_eq!(
            subscripts(locals, "KEYS"),
            described,
            "{name}: keys described and named"
        );
        assert_eq!(
            subscripts(body, "KEYS"),
            BTreeSet::new(),
            "{name}: the body takes a key"
        );
        assert_eq!(
            subscripts(body, "ARGV"),
            BTreeSet::new(),
            "{name}: the body takes ARGV[n]"
        );
        assert!(
            locals.lines().all(|line| line.starts_with("local ")),
            "{name}: {locals}"
        );
        assert!(!code.contains("math.random"), "{name}: chance");
        let real_time = code.contains("redis.call('TIME')");
        let injected = header.contains("1 now");
        assert_eq!(
            real_time, injected,
            "{name}: time is that of Redis unless a test gives it"
        );
    }
}

#[test]
fn every_script_has_a_module_of_tests() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/lua");
    for (name, _) in scripts() {
        let tests = fs::read_to_string(directory.join(format!("{name}.rs")));
        let tests = tests.unwrap_or_else(|error| panic!("it/lua/{name}.rs: {error}"));
        assert!(
            tests.matches("#[tokio::test]").count() >= 2,
            "{name} is hardly tested"
        );
        assert!(
            include_str!("lua.rs").contains(&format!("\nmod {name};\n")),
            "{name}"
        );
    }
}

#[test]
fn every_script_is_a_verb() {
    let verbs = include_str!("../../shared/src/queue/scripts.rs");
    for (name, _) in scripts() {
        let line = format!("    {} = \"{name}\";\n", name.to_uppercase());
        assert!(verbs.contains(&line), "{name} is not in scripts.rs");
    }
}
