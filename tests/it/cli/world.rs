//! What the tests of the command line start from.

use std::path::Path;
use std::sync::Arc;

use ::api::config::LimitOptions;
use shared::clock::{Clock as _, SystemClock};
use shared::domain::TokenScope;
use shared::secret::Secret;
use tempfile::TempDir;
use tests::api_server::ApiServer;
use tests::command_line::{Outcome, run};
use tests::control_database::ControlDatabase;
use tests::redis_server::RedisServer;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_cli_under_test");

/// The API with all it needs, and a token of scope admin.
pub(super) struct World {
    api: ApiServer,
    database: ControlDatabase,
    _redis: RedisServer,
    token: Secret,
    directory: TempDir,
}

impl World {
    pub(super) async fn start() -> Self {
        let (database, redis) = tokio::join!(ControlDatabase::start(), RedisServer::start());
        let (database, redis) = (database.unwrap(), redis.unwrap());
        let limits = LimitOptions::default();
        let clock = Arc::new(SystemClock);
        let api = ApiServer::start(&database, &redis.url(), clock, limits)
            .await
            .unwrap();
        let (_, token) = database
            .token(TokenScope::Admin, SystemClock.now())
            .await
            .unwrap();
        Self {
            api,
            database,
            _redis: redis,
            token,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A new token of another scope.
    pub(super) async fn token(&self, scope: TokenScope) -> Secret {
        self.database
            .token(scope, SystemClock.now())
            .await
            .unwrap()
            .1
    }

    /// URL of the API.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.api.address)
    }

    /// Runs `ringmaster` with these arguments and the token of scope admin.
    pub(super) async fn ringmaster(&self, arguments: &[&str]) -> Outcome {
        self.ringmaster_with(&self.token, arguments).await
    }

    /// Runs `ringmaster` with these arguments and this token.
    pub(super) async fn ringmaster_with(&self, token: &Secret, arguments: &[&str]) -> Outcome {
        let url = self.url();
        let environment = [
            ("RINGMASTER_API_URL", url.as_str()),
            ("RINGMASTER_TOKEN", token.expose()),
        ];
        run(
            Path::new(PROGRAM),
            arguments,
            &environment,
            self.directory.path(),
        )
        .await
        .unwrap()
    }

    /// Runs `ringmaster` where no API is known.
    pub(super) async fn ringmaster_alone(&self, arguments: &[&str]) -> Outcome {
        run(Path::new(PROGRAM), arguments, &[], self.directory.path())
            .await
            .unwrap()
    }

    /// Asks for a resource, which must be accepted.
    pub(super) async fn create(&self, name: &str) -> serde_json::Value {
        let outcome = self
            .ringmaster(&["create", name, "--plan", "standard", "--json"])
            .await;
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        outcome.json().unwrap()
    }

    /// Runs a command whose result is JSON.
    pub(super) async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let outcome = self.ringmaster(&with_json).await;
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        outcome.json().unwrap()
    }
}
