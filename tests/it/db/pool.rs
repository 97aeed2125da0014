//! The pool survives its database, and tells what passes from what does not.

use shared::db::{self, DbError, plans};
use shared::secret::Secret;
use tests::control_database::ControlDatabase;

#[tokio::test]
async fn a_restarted_database_is_used_again() {
    let mut database = ControlDatabase::start().await.unwrap();
    let pool = database.pool.clone();
    plans::list(&pool).await.unwrap();
    database.server_mut().kill().await.unwrap();
    let error = plans::list(&pool).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    database.server_mut().restart().await.unwrap();
    // Every kept connection is dead; each may fail once.
    let mut failures = 0;
    while let Err(error) = plans::list(&pool).await {
        assert!(error.is_transient(), "{error:?}");
        failures += 1;
        assert!(failures <= 10, "{error:?}");
    }
}

#[tokio::test]
async fn statements_have_a_deadline_and_a_name() {
    let database = ControlDatabase::start().await.unwrap();
    let settings: (String, String, String) = sqlx::query_as(
        "select current_setting('application_name'), current_setting('statement_timeout'),
            current_setting('lock_timeout')",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap();
    let expected = ("tests".to_owned(), "30s".to_owned(), "20s".to_owned());
    assert_eq!(settings, expected);
}

#[tokio::test]
async fn an_absent_database_is_told_without_its_password() {
    let url = Secret::new("postgres://ringmaster:hunter2@127.0.0.1:1/x");
    let options = db::ConnectOptions {
        acquire_timeout: std::time::Duration::from_secs(1),
        ..ControlDatabase::options()
    };
    let error = db::connect(&url, &options).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    let error = db::connect(&Secret::new("hunter2"), &options)
        .await
        .unwrap_err();
    assert!(matches!(error, DbError::Query { .. }) && !error.is_transient());
    assert!(
        !format!("{error:?} {error}").contains("hunter2"),
        "{error:?}"
    );
}
