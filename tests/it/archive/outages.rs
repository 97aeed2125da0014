//! A store that is away, slow, or wrong: nothing is taken for done that is not.

use bytes::Bytes;
use http::Method;
use shared::archive::store::{ObjectStore, Put, S3Settings, S3Store, StoreError};
use shared::secret::Secret;
use tests::object_server::{Fault, ObjectServer, On};

fn content() -> Bytes {
    Bytes::from(vec![5; 3_000_000])
}

fn is_transient<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Transient { .. }))
}

fn is_refused<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Refused { .. }))
}

#[tokio::test]
async fn a_passing_trouble_is_not_noticed() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    let troubles = [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::ResetUpload(100_000),
    ];
    for (number, trouble) in troubles.into_iter().enumerate() {
        let key = format!("a/{number}");
        server
            .faults()
            .set(trouble, On::method(Method::PUT).times(1));
        assert_eq!(store.put(&key, content()).await.unwrap(), Put::Stored);
        server.faults().set(
            Fault::Answer(500, "InternalError"),
            On::method(Method::GET).times(1),
        );
        assert!(store.get(&key, None).await.unwrap() == Some(content()));
    }
}

#[tokio::test]
async fn a_lasting_trouble_is_an_error_that_passes() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    store.put("there", content()).await.unwrap();
    let troubles = [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::ErrorInside200,
    ];
    for trouble in troubles {
        server.faults().set(trouble.clone(), On::all());
        let put = store.put("new", content()).await;
        assert!(is_transient(&put), "{trouble:?}: {put:?}");
        let delete = store.delete(&["there".to_owned()]).await;
        let list = store.list("", None, 10).await;
        assert!(is_transient(&delete), "{trouble:?}: {delete:?}");
        assert!(is_transient(&list), "{trouble:?}: {list:?}");
        // As the content of an object an error is not to be told from others: frames tell.
        if trouble != Fault::ErrorInside200 {
            let get = store.get("there", None).await;
            assert!(is_transient(&get), "{trouble:?}: {get:?}");
        }
        server.faults().clear();
        assert_eq!(store.list("", None, 10).await.unwrap().len(), 1);
    }
}

/// Takes a minute, in which nothing happens.
#[tokio::test]
async fn a_call_that_hangs_is_broken_off_and_made_again() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    store.put("there", content()).await.unwrap();
    for method in [Method::GET, Method::PUT] {
        server
            .faults()
            .set(Fault::Hang, On::method(method).times(1));
    }
    let (read, written) = tokio::join!(store.get("there", None), store.put("new", content()));
    assert!(read.unwrap() == Some(content()));
    assert_eq!(written.unwrap(), Put::Stored);
}

#[tokio::test]
async fn half_a_content_is_no_content() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    store.put("a", content()).await.unwrap();
    server
        .faults()
        .set(Fault::TruncateContent, On::method(Method::GET));
    let read = store.get("a", None).await;
    assert!(
        is_transient(&read),
        "{} bytes",
        read.map_or(0, |read| read.map_or(0, |r| r.len()))
    );
}

#[tokio::test]
async fn half_an_upload_leaves_nothing() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    server
        .faults()
        .set(Fault::ResetUpload(1_000_000), On::method(Method::PUT));
    assert!(is_transient(&store.put("a", content()).await));
    server.faults().clear();
    assert_eq!(store.get("a", None).await.unwrap(), None);
    assert_eq!(server.unfinished_uploads().unwrap(), 0);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_again() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    server
        .faults()
        .set(Fault::LoseAnswer, On::method(Method::PUT).times(1));
    // The repetition finds what the first attempt wrote: whoever writes compares.
    assert_eq!(store.put("a", content()).await.unwrap(), Put::AlreadyThere);
    assert!(store.get("a", None).await.unwrap() == Some(content()));
}

#[tokio::test]
async fn a_store_that_was_stopped_has_everything_when_it_is_back() {
    let mut server = ObjectServer::start().await.unwrap();
    let store = server.store();
    for key in ["a", "a/b", "c"] {
        assert_eq!(store.put(key, content()).await.unwrap(), Put::Stored);
    }
    server.stop().await.unwrap();
    assert!(is_transient(&store.get("a", None).await));
    server.start_again().await.unwrap();
    assert!(store.get("a", None).await.unwrap() == Some(content()));
    assert_eq!(
        store.put("a/b", content()).await.unwrap(),
        Put::AlreadyThere
    );
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_only_a_person_can_change_is_refused() {
    let server = ObjectServer::start().await.unwrap();
    let with_other_keys = S3Store::new(S3Settings {
        secret_access_key: Secret::new("guessed by somebody"),
        ..server.settings()
    });
    let of_other_bucket = S3Store::new(S3Settings {
        bucket: "another".to_owned(),
        ..server.settings()
    });
    for store in [with_other_keys, of_other_bucket] {
        let read = store.get("a", None).await;
        assert!(is_refused(&read), "{read:?}");
        let write = store.put("a", content()).await;
        assert!(is_refused(&write), "{write:?}");
        let list = store.list("a", None, 1).await;
        assert!(is_refused(&list), "{list:?}");
        let delete = store.delete(&["a".to_owned()]).await;
        assert!(is_refused(&delete), "{delete:?}");
    }
}

#[tokio::test]
async fn what_hangs_ends_with_the_server() {
    let mut server = ObjectServer::start().await.unwrap();
    let store = server.store();
    server.faults().set(Fault::Hang, On::all().times(1));
    let hanging = store.get("a", None);
    let stopping = async {
        while server.faults().seen().is_empty() {
            tokio::task::yield_now().await;
        }
        server.stop().await.unwrap();
    };
    let (read, ()) = tokio::join!(hanging, stopping);
    assert!(is_transient(&read), "{read:?}");
}
