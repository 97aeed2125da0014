//! The scripts of the queue against a real Redis: each has a module of its name.

mod claim;
mod world;

use std::time::Duration;

use tests::redis_server::{RedisServer, slow_relay};

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
