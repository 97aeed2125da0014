//! What every store does, the real one and the one of tests alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use shared::archive::store::{Capabilities, MemoryStore, ObjectStore, Put, S3Settings, S3Store};
use tests::object_server::{Fault, ObjectServer, On};

#[tokio::test]
async fn a_store_in_memory_does_what_a_store_does() {
    everything(Arc::new(MemoryStore::default())).await;
}

#[tokio::test]
async fn an_s3_does_what_a_store_does() {
    let server = ObjectServer::start().await.unwrap();
    everything(Arc::new(server.store())).await;
}

#[tokio::test]
async fn a_part_of_an_s3_does_what_a_store_does() {
    let server = ObjectServer::start().await.unwrap();
    let other = server.store();
    let elsewhere = Bytes::from_static(b"of somebody else");
    for key in ["a", "fleet", "fleet-2/a", "z"] {
        assert_eq!(
            other.put(key, elsewhere.clone()).await.unwrap(),
            Put::Stored
        );
    }
    let settings = S3Settings {
        prefix: "fleet/".to_owned(),
        ..server.settings()
    };
    everything(Arc::new(S3Store::new(settings))).await;
    let left = other.list("", None, 1000).await.unwrap();
    let left: Vec<&str> = left.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(left, ["a", "fleet", "fleet-2/a", "z"]);
}

async fn everything(store: Arc<dyn ObjectStore>) {
    objects_are_written_once(&*store).await;
    parts_are_read(&*store).await;
    lists_are_in_order(&*store).await;
    deleted_is_gone(&*store).await;
    any_name_is_a_name(&*store).await;
    one_of_many_writers_wins(Arc::clone(&store)).await;
    assert_eq!(keys(&*store, "", None, 1000).await, [""; 0]);
}

async fn keys(
    store: &dyn ObjectStore,
    prefix: &str,
    after: Option<&str>,
    limit: u16,
) -> Vec<String> {
    let list = store.list(prefix, after, limit).await.unwrap();
    list.into_iter().map(|object| object.key).collect()
}

async fn delete_all(store: &dyn ObjectStore) {
    let all = keys(store, "", None, 1000).await;
    store.delete(&all).await.unwrap();
}

async fn objects_are_written_once(store: &dyn ObjectStore) {
    assert_eq!(store.get("a/b", None).await.unwrap(), None);
    let large: Vec<u8> = (0..9_000_001_u32)
        .map(|n| n.to_le_bytes()[0] ^ 0x5A)
        .collect();
    for content in [
        Bytes::new(),
        Bytes::from_static(b"small"),
        Bytes::from(large),
    ] {
        let key = format!("a/{}", content.len());
        assert_eq!(store.put(&key, content.clone()).await.unwrap(), Put::Stored);
        let again = store.put(&key, Bytes::from_static(b"other")).await.unwrap();
        assert_eq!(again, Put::AlreadyThere);
        let read = store.get(&key, None).await.unwrap();
        assert!(read == Some(content), "{key} is not what was written");
    }
    delete_all(store).await;
}

async fn parts_are_read(store: &dyn ObjectStore) {
    let content = Bytes::from_static(b"0123456789");
    store.put("a", content.clone()).await.unwrap();
    for (from, to) in [
        (0, 1),
        (0, 10),
        (3, 7),
        (9, 10),
        (5, 100),
        (10, 11),
        (100, 200),
    ] {
        let read = store.get("a", Some(from..to)).await.unwrap().unwrap();
        let at = |position: u64| usize::try_from(position).unwrap().min(10);
        assert_eq!(read, content.slice(at(from)..at(to)), "{from}..{to}");
    }
    assert_eq!(store.get("b", Some(0..1)).await.unwrap(), None);
    delete_all(store).await;
}

async fn lists_are_in_order(store: &dyn ObjectStore) {
    let all = ["a", "a-b", "a/b", "a/c/d", "a/c/e", "a0", "b/a", "ä"];
    for key in all.iter().rev() {
        let content = Bytes::from(vec![1; key.len()]);
        store.put(key, content).await.unwrap();
    }
    assert_eq!(keys(store, "", None, 1000).await, all);
    assert_eq!(
        keys(store, "a/", None, 1000).await,
        ["a/b", "a/c/d", "a/c/e"]
    );
    assert_eq!(keys(store, "a/c", None, 1000).await, ["a/c/d", "a/c/e"]);
    assert_eq!(keys(store, "a/", Some("a/b"), 1).await, ["a/c/d"]);
    assert_eq!(keys(store, "a/", Some("a"), 1).await, ["a/b"]);
    assert_eq!(keys(store, "", Some("b"), 1000).await, ["b/a", "ä"]);
    assert_eq!(keys(store, "a/", Some("b"), 1000).await, [""; 0]);
    assert_eq!(keys(store, "c", None, 1000).await, [""; 0]);
    for object in store.list("", None, 1000).await.unwrap() {
        assert_eq!(object.bytes, u64::try_from(object.key.len()).unwrap());
    }
    let (mut one_by_one, mut last) = (Vec::new(), None);
    while let Some(next) = keys(store, "", last.as_deref(), 1).await.pop() {
        one_by_one.push(next.clone());
        last = Some(next);
    }
    assert_eq!(one_by_one, all);
    delete_all(store).await;
}

async fn deleted_is_gone(store: &dyn ObjectStore) {
    store.delete(&[]).await.unwrap();
    for key in ["a/b", "a/c"] {
        store.put(key, Bytes::from_static(b"x")).await.unwrap();
    }
    let gone = ["a/b".to_owned(), "never/there".to_owned()];
    for _ in 0..2 {
        store.delete(&gone).await.unwrap();
    }
    assert_eq!(keys(store, "", None, 1000).await, ["a/c"]);
    assert_eq!(store.get("a/b", None).await.unwrap(), None);
    assert_eq!(store.put("a/b", Bytes::new()).await.unwrap(), Put::Stored);
    delete_all(store).await;
}

async fn any_name_is_a_name(store: &dyn ObjectStore) {
    let long = "long/".repeat(40) + &"x".repeat(300);
    let odd = [
        "a b", "a+b", "a%2Fb", "a//b", "a/./b", "a/../b", "ü/€", "&<>\"'", &long,
    ];
    for key in odd {
        assert_eq!(
            store.put(key, Bytes::from(key.to_owned())).await.unwrap(),
            Put::Stored
        );
    }
    for key in odd {
        let read = store.get(key, None).await.unwrap();
        assert_eq!(read, Some(Bytes::from(key.to_owned())), "{key:?}");
    }
    let listed: BTreeSet<String> = keys(store, "", None, 1000).await.into_iter().collect();
    assert_eq!(listed, odd.map(ToOwned::to_owned).into_iter().collect());
    delete_all(store).await;
}

async fn one_of_many_writers_wins(store: Arc<dyn ObjectStore>) {
    let writers = (0..24_u8).map(|writer| {
        let store = Arc::clone(&store);
        async move {
            let content = Bytes::from(vec![writer; 100_000]);
            let put = store.put("race", content).await.unwrap();
            (put == Put::Stored).then_some(writer)
        }
    });
    let winners: Vec<u8> = join_all(writers).await.into_iter().flatten().collect();
    let [winner] = winners[..] else {
        panic!("{winners:?} won");
    };
    let read = store.get("race", None).await.unwrap().unwrap();
    assert!(read == vec![winner; 100_000], "not the winner's content");
    delete_all(&*store).await;
}

#[tokio::test]
async fn a_store_is_asked_whether_it_knows_conditions() {
    let knows = |conditional_put| Capabilities { conditional_put };
    let asked = async |store: &dyn ObjectStore| {
        let found = store.probe().await.unwrap();
        assert_eq!(store.capabilities(), Some(found), "it is remembered");
        found
    };
    let memory = MemoryStore::default();
    assert_eq!(memory.capabilities(), None);
    // Twice: the object of the first probe is there at the second.
    assert_eq!(asked(&memory).await, knows(true));
    assert_eq!(asked(&memory).await, knows(true));
    memory.ignore_conditions();
    assert_eq!(asked(&memory).await, knows(false));

    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    assert_eq!(store.capabilities(), None);
    assert_eq!(asked(&store).await, knows(true));
    server.faults().set(Fault::IgnoreConditions, On::all());
    assert_eq!(asked(&store).await, knows(false));
    assert_eq!(asked(&store).await, knows(false));
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_not_judged() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    let fault = Fault::Answer(503, "SlowDown");
    server.faults().set(fault, On::all());
    store.probe().await.unwrap_err();
    assert_eq!(store.capabilities(), None);
    server.faults().clear();
    server.faults().set(Fault::IgnoreConditions, On::all());
    // Before anybody knows, nothing is trusted.
    let put = async |content| store.put("a", Bytes::from_static(content)).await.unwrap();
    assert_eq!(put(b"first").await, Put::Stored);
    assert_eq!(put(b"second").await, Put::AlreadyThere);
}

#[tokio::test]
async fn a_store_without_conditions_is_looked_at_before_it_is_written() {
    let server = ObjectServer::start().await.unwrap();
    let store = server.store();
    server.faults().set(Fault::IgnoreConditions, On::all());
    store.probe().await.unwrap();
    let first = Bytes::from_static(b"first");
    assert_eq!(store.put("a", first.clone()).await.unwrap(), Put::Stored);
    let second = Bytes::from_static(b"second");
    assert_eq!(store.put("a", second).await.unwrap(), Put::AlreadyThere);
    assert_eq!(store.get("a", None).await.unwrap(), Some(first));
}
