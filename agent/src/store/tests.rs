use super::*;

fn check_refused(text: &str, server: ServerId, why: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    fs::write(&path, text).unwrap();
    let error = Store::open(&path, server).unwrap_err();
    let StoreError::Corrupt { source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains(why), "{text:?}: {source}");
}

#[test]
fn a_file_that_cannot_be_understood_is_never_an_empty_start() {
    let server = ServerId::new();
    let whole = serde_json::to_string(&State::before_the_first(server)).unwrap();
    check_refused("", server, "damaged");
    check_refused("{}", server, "damaged");
    check_refused(&whole[..whole.len() / 2], server, "damaged");
    check_refused(
        &whole.replace("\"crashes\":0", "\"crashes\":-1"),
        server,
        "damaged",
    );
    check_refused(&whole.replace("\"form\":1", "\"form\":2"), server, "form 2");
    check_refused(&whole, ServerId::new(), "belongs to server");
}

#[tokio::test]
async fn what_was_remembered_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let server = ServerId::new();
    let store = Store::open(&path, server).unwrap();
    assert_eq!(store.get().generation(), 0);
    store.set(|state| state.crashes = 7).await.unwrap();
    let refused: Result<(), &str> = store
        .update(|state| {
            state.crashes = 8;
            Err("no")
        })
        .await
        .unwrap();
    assert_eq!(refused, Err("no"));
    assert_eq!(store.get().crashes, 7);
    assert_eq!(Store::open(&path, server).unwrap().get(), store.get());
}
