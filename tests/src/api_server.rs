//! The HTTP API in the process of the test, on a port of its own, and a client of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use api::config::LimitOptions;
use api::{App, AppParts, Server};
use chrono::Utc;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use shared::clock::Clock;
use shared::domain::TokenScope;
use shared::ids::TokenId;
use shared::queue::{Queue, QueueConfig};
use shared::secret::{Secret, Vault};
use shared::telemetry::{MetricsHandle, install_recorder};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control_database::ControlDatabase;

/// A running API. Dropping it stops it.
#[derive(Debug)]
pub struct ApiServer {
    /// Where it answers.
    pub address: SocketAddr,
    /// Opens and seals the secrets of its control database.
    pub vault: Vault,
    client: reqwest::Client,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The code of a problem; empty if it is none.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// The recorder is that of the process; tests of one process share it.
pub fn metrics() -> MetricsHandle {
    static METRICS: OnceLock<MetricsHandle> = OnceLock::new();
    METRICS
        .get_or_init(|| install_recorder("tests").expect("nobody else installs a recorder"))
        .clone()
}

impl ApiServer {
    /// Starts the API on `database` and the Redis at `redis_url`, which may be away.
    pub async fn start(
        database: &ControlDatabase,
        redis_url: &str,
        clock: Arc<dyn Clock>,
        limits: LimitOptions,
    ) -> anyhow::Result<Self> {
        let vault = Vault::from_base64(&Vault::random_key())?;
        let app = App::new(AppParts {
            pool: database.pool.clone(),
            queue: Queue::connect(QueueConfig::single(redis_url)?).await?,
            vault: vault.clone(),
            clock,
            metrics: metrics(),
            limits,
        });
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), app).await?;
        let (address, stop, tasks) = (
            server.address(),
            CancellationToken::new(),
            TaskTracker::new(),
        );
        tasks.spawn(server.serve(stop.clone()));
        // Only the first call of a process installs it; the client needs one even without TLS.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self {
            address,
            vault,
            client,
            stop,
            tasks,
        })
    }

    /// A request to be sent; the path begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await.context("send a request to the API")?;
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response
                .text()
                .await
                .context("read the answer of the API")?,
        })
    }

    /// Stops it as a signal would, and waits until it has ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A token of each scope.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Ids and secrets, by scope: read, write, admin.
    pub all: Vec<(TokenScope, TokenId, Secret)>,
}

impl Tokens {
    /// Stores a new token of each scope, good for a day.
    pub async fn create(database: &ControlDatabase, clock: &dyn Clock) -> anyhow::Result<Self> {
        let now: chrono::DateTime<Utc> = clock.now();
        let mut all = Vec::new();
        for scope in TokenScope::ALL {
            let (id, secret) = database.token(*scope, now).await?;
            all.push((*scope, id, secret));
        }
        Ok(Self { all })
    }

    /// The secret of the token with this scope.
    pub fn secret(&self, scope: TokenScope) -> &str {
        let (_, _, secret) = self
            .all
            .iter()
            .find(|(known, _, _)| *known == scope)
            .expect("there is one of each");
        secret.expose()
    }

    /// The id of the token with this scope.
    pub fn id(&self, scope: TokenScope) -> TokenId {
        let (_, id, _) = self
            .all
            .iter()
            .find(|(known, _, _)| *known == scope)
            .expect("there is one of each");
        *id
    }
}
