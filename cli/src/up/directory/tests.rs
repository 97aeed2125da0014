use super::*;

#[test]
fn a_secret_is_made_once_and_only_we_may_read_it() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join(".ringmaster");
    let directory = Directory::open_or_create(&path, &Account::current()).unwrap();
    let first = directory
        .secret("postgres.password", Secret::random)
        .unwrap();
    let again = Directory::open(&path).unwrap();
    assert_eq!(
        again.secret("postgres.password", Secret::random).unwrap(),
        first
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.join("postgres.password")), 0o600);
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_key_that_was_lost_is_not_replaced_while_there_is_data() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join(".ringmaster");
    let directory = Directory::open_or_create(&path, &Account::current()).unwrap();
    let key = directory
        .lasting_secret("encryption.key", Secret::random)
        .unwrap();
    fs::create_dir(directory.postgres()).unwrap();
    assert_eq!(
        directory
            .lasting_secret("encryption.key", Secret::random)
            .unwrap(),
        key
    );
    fs::remove_file(directory.encryption_key()).unwrap();
    let failure = directory
        .lasting_secret("encryption.key", Secret::random)
        .unwrap_err();
    assert!(
        failure.to_string().contains("encryption.key is lost"),
        "{failure}"
    );
    assert!(!directory.encryption_key().exists());
}

#[test]
fn a_directory_where_nothing_was_started_says_how_to_start() {
    let parent = tempfile::tempdir().unwrap();
    let failure = Directory::open(&parent.path().join(".ringmaster")).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unreachable);
    assert!(failure.advice().unwrap().contains("make up"));
}

#[test]
fn directories_of_different_paths_do_not_share_their_data() {
    assert_ne!(
        fallback(Path::new("/root/a/.ringmaster")),
        fallback(Path::new("/root/b/.ringmaster"))
    );
    assert_eq!(
        fallback(Path::new("/root/a")).parent(),
        Some(Path::new(FALLBACK))
    );
}

/// Only root runs PostgreSQL as another user, whom a directory may be closed to.
#[test]
fn data_that_postgres_could_not_reach_is_placed_elsewhere() {
    let Ok(account) = Account::for_postgres() else {
        return;
    };
    if account == Account::current() {
        return;
    }
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = closed.path().join(".ringmaster");
    let directory = Directory::open_or_create(&path, &account).unwrap();
    assert_eq!(directory.shown(), path);
    account.check_reaches(&directory.join(".")).unwrap();
    assert_eq!(fs::read_link(&path).unwrap(), fallback(&path));

    fs::remove_dir_all(fallback(&path)).unwrap();
    Directory::open_or_create(&path, &account).unwrap();
    assert!(
        path.is_dir(),
        "a link whose target was removed is filled again"
    );
    fs::remove_dir_all(fallback(&path)).unwrap();
}
