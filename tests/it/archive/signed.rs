//! Signed requests, as agents make them: with nothing but the URL and its headers.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::StatusCode;
use reqwest::{Body, Client, Response};
use shared::agent_api::wal::Signed;
use shared::archive::store::{ObjectStore, S3Settings, S3Store};
use shared::secret::Secret;
use tests::object_server::{Fault, ObjectServer, On};
use tokio::time::{Instant, sleep};

const VALID_FOR: Duration = Duration::from_mins(15);

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn client() -> Client {
    // Another test of the process may have done it before.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().build().unwrap()
}

async fn put(client: &Client, signed: &Signed, content: impl Into<Body>) -> Response {
    let mut request = client.put(signed.url.expose()).body(content);
    for (name, value) in &signed.headers {
        request = request.header(name, value);
    }
    request.send().await.unwrap()
}

async fn get(client: &Client, signed: &Signed) -> Response {
    client.get(signed.url.expose()).send().await.unwrap()
}

#[tokio::test]
async fn whoever_has_a_signed_url_reads_and_writes() {
    let server = ObjectServer::start().await.unwrap();
    let (store, client) = (server.store(), client());
    let key = "timelines/1/wal/a b+c%.zst";
    let write = store.sign_put(key, VALID_FOR).await.unwrap();
    let read = store.sign_get(key, VALID_FOR).await.unwrap();
    assert_eq!(get(&client, &read).await.status(), StatusCode::NOT_FOUND);
    let answer = put(&client, &write, "content").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("etag"));
    assert_eq!(answer.text().await.unwrap(), "");
    let answer = get(&client, &read).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), "content");
    let part = client.get(read.url.expose()).header("range", "bytes=1-3");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 1-3/7");
    assert_eq!(part.text().await.unwrap(), "ont");
    assert_eq!(
        put(&client, &write, "other").await.status(),
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(get(&client, &read).await.text().await.unwrap(), "content");
}

#[tokio::test]
async fn a_write_says_whether_to_look_first() {
    let server = ObjectServer::start().await.unwrap();
    let (store, client) = (server.store(), client());
    let look = async || {
        let write = store.sign_put("a", VALID_FOR).await.unwrap();
        let look = write.look_first?;
        let answer = client.head(look.url.expose()).send().await.unwrap();
        Some(answer.status())
    };
    assert_eq!(
        look().await,
        Some(StatusCode::NOT_FOUND),
        "nothing is known"
    );
    store.probe().await.unwrap();
    assert_eq!(look().await, None, "the store sees to it");
    server.faults().set(Fault::IgnoreConditions, On::all());
    store.probe().await.unwrap();
    assert_eq!(look().await, Some(StatusCode::NOT_FOUND));
    store.put("a", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(look().await, Some(StatusCode::OK));
}

#[tokio::test]
async fn exactly_one_of_racing_writes_is_answered_with_200() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    let write = &store.sign_put("race", VALID_FOR).await.unwrap();
    let writes = (0..24_u8).map(|writer| async move {
        let content = vec![writer; 1_000_000];
        (writer, put(&client(), write, content).await.status())
    });
    let answers = join_all(writes).await;
    let won = answers
        .iter()
        .filter(|(_, status)| *status == StatusCode::OK);
    let [(winner, _)] = won.collect::<Vec<_>>()[..] else {
        panic!("not one winner: {answers:?}");
    };
    let lost = answers
        .iter()
        .filter(|(_, status)| *status == StatusCode::PRECONDITION_FAILED);
    assert_eq!(lost.count(), 23, "{answers:?}");
    let read = store.get("race", None).await.unwrap().unwrap();
    assert!(read == vec![*winner; 1_000_000], "not the winner's content");
    assert_eq!(server.unfinished_uploads().unwrap(), 0);
}

#[tokio::test]
async fn a_refusal_reaches_who_is_still_uploading() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    store
        .put("taken", Bytes::from_static(b"first"))
        .await
        .unwrap();
    let write = store.sign_put("taken", VALID_FOR).await.unwrap();
    let large = vec![7; 40_000_000];
    let answer = put(&client(), &write, large.clone()).await;
    assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED);
    let forged = Signed {
        url: Secret::new(write.url.expose().replace("/taken", "/forged")),
        ..write
    };
    let answer = put(&client(), &forged, large).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_was_signed_must_be_sent() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    let client = client();
    let write = store.sign_put("a", VALID_FOR).await.unwrap();
    let without = client
        .put(write.url.expose())
        .body("content")
        .send()
        .await
        .unwrap();
    assert_eq!(
        without.status(),
        StatusCode::FORBIDDEN,
        "the condition was left out"
    );
    let as_get = client.get(write.url.expose()).send().await.unwrap();
    assert_eq!(as_get.status(), StatusCode::FORBIDDEN, "another method");
    let read = store.sign_get("a", VALID_FOR).await.unwrap();
    let longer = read.url.expose().replace("Expires=900", "Expires=90000");
    let longer = client.get(longer).send().await.unwrap();
    assert_eq!(longer.status(), StatusCode::FORBIDDEN, "another time");
    let (place, _) = read.url.expose().split_once('?').unwrap();
    let unsigned = client.get(place).send().await.unwrap();
    assert_eq!(unsigned.status(), StatusCode::FORBIDDEN, "no signature");
    let stranger = S3Store::new(S3Settings {
        secret_access_key: Secret::new("guessed by somebody"),
        ..server.settings()
    });
    let read = stranger.sign_get("a", VALID_FOR).await.unwrap();
    assert_eq!(
        get(&client, &read).await.status(),
        StatusCode::FORBIDDEN,
        "another key"
    );
}

#[tokio::test]
async fn a_url_is_good_for_as_long_as_it_says() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    store
        .put("a", Bytes::from_static(b"content"))
        .await
        .unwrap();
    let (client, begun) = (client(), Instant::now());
    let lifetime = Duration::from_secs(3);
    let read = store.sign_get("a", lifetime).await.unwrap();
    let write = store.sign_put("b", lifetime).await.unwrap();
    let mut answer = get(&client, &read).await;
    while answer.status() == StatusCode::OK {
        assert!(begun.elapsed() < PATIENCE, "it never expires");
        sleep(Duration::from_millis(50)).await;
        answer = get(&client, &read).await;
    }
    // Dates of signatures are whole seconds.
    assert!(
        begun.elapsed() + Duration::from_secs(1) >= lifetime,
        "too early"
    );
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(answer.text().await.unwrap().contains("expired"));
    assert_eq!(
        put(&client, &write, "content").await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(store.get("b", None).await.unwrap(), None);
}

#[tokio::test]
async fn a_content_without_its_promised_checksum_is_refused() {
    let server = ObjectServer::start().await.unwrap();
    let (store, client) = (server.store(), client());
    let write = store.sign_put("a", VALID_FOR).await.unwrap();
    let send = |content: &'static str, sum: &str| {
        let request = client.put(write.url.expose()).header("if-none-match", "*");
        let request = request.header("x-amz-checksum-crc32", sum.to_owned());
        async move { request.body(content).send().await.unwrap() }
    };
    // CRC-32 of "hello".
    let answer = send("hello!", "NhCmhg==").await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(answer.text().await.unwrap().contains("BadDigest"));
    assert_eq!(store.get("a", None).await.unwrap(), None);
    assert_eq!(send("hello", "NhCmhg==").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_said_about_an_object_is_kept() {
    let server = ObjectServer::start().await.unwrap();
    let (store, client) = (server.store(), client());
    let write = store.sign_put("a", VALID_FOR).await.unwrap();
    let request = client.put(write.url.expose()).header("if-none-match", "*");
    let request = request.header("content-type", "application/zstd");
    let request = request.header("x-amz-meta-colour", "blue").body("content");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let read = store.sign_get("a", VALID_FOR).await.unwrap();
    let answer = get(&client, &read).await;
    assert_eq!(answer.headers()["content-type"], "application/zstd");
    assert_eq!(answer.headers()["x-amz-meta-colour"], "blue");
}

#[tokio::test]
async fn it_says_whether_it_is_ready_and_nothing_else_without_a_signature() {
    let server = ObjectServer::start().await.unwrap();
    let endpoint = server.settings().endpoint.unwrap();
    let ask = async |path: &str| {
        client()
            .get(format!("{endpoint}{path}"))
            .send()
            .await
            .unwrap()
    };
    assert_eq!(ask("/readyz").await.status(), StatusCode::OK);
    assert_eq!(ask("/healthz").await.status(), StatusCode::OK);
    assert_eq!(
        ask("/readyz?list-type=2").await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(ask("/").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(ask("/archive").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_store_that_does_not_encrypt_says_so() {
    let server = ObjectServer::start().await.unwrap();
    let store = S3Store::new(S3Settings {
        encryption: shared::archive::store::Encryption::Aes256,
        ..server.settings()
    });
    let write = store.sign_put("a", VALID_FOR).await.unwrap();
    let answer = put(&client(), &write, "content").await;
    assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
}
