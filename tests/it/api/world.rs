//! What the tests of the API start from.

use std::sync::Arc;

use api::config::LimitOptions;
use chrono::{DateTime, TimeZone as _, Utc};
use http::Method;
use serde_json::{Value, json};
use shared::clock::ManualClock;
use shared::domain::TokenScope;
use shared::http_api::Operation;
use shared::ids::{ParticipantId, RequestId, ResourceId, ServerId, TimelineId};
use shared::queue::{Member, MembersCursor, Queue, QueueConfig, Ring};
use shared::secret::Secret;
use tests::api_server::{Answer, ApiServer, Tokens};
use tests::control_database::ControlDatabase;
use tests::redis_server::RedisServer;

/// The API with all it needs, and a token of each scope. The clock stands still.
pub(super) struct World {
    pub(super) api: ApiServer,
    pub(super) database: ControlDatabase,
    pub(super) redis: RedisServer,
    pub(super) tokens: Tokens,
    pub(super) clock: ManualClock,
}

/// The moment at which the clock stands.
pub(super) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap()
}

impl World {
    pub(super) async fn start() -> Self {
        Self::start_with(LimitOptions::default()).await
    }

    pub(super) async fn start_with(limits: LimitOptions) -> Self {
        let (database, redis) = tokio::join!(ControlDatabase::start(), RedisServer::start());
        let (database, redis) = (database.unwrap(), redis.unwrap());
        let clock = ManualClock::starting_at(now());
        let tokens = Tokens::create(&database, &clock).await.unwrap();
        let shared_clock = Arc::new(clock.clone());
        let api = ApiServer::start(&database, &redis.url(), shared_clock, limits)
            .await
            .unwrap();
        Self {
            api,
            database,
            redis,
            tokens,
            clock,
        }
    }

    /// Sends a request without a body.
    pub(super) async fn call(&self, method: Method, path: &str, scope: TokenScope) -> Answer {
        let request = self
            .api
            .request(method, path)
            .bearer_auth(self.tokens.secret(scope));
        self.api.send(request).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, TokenScope::Admin).await
    }

    /// Sends a request with a JSON body.
    pub(super) async fn post(&self, path: &str, scope: TokenScope, body: &Value) -> Answer {
        let request = self.api.request(Method::POST, path).json(body);
        let request = request.bearer_auth(self.tokens.secret(scope));
        self.api.send(request).await.unwrap()
    }

    /// Asks for a resource, which must be accepted.
    pub(super) async fn create(&self, name: &str) -> Operation {
        let body = json!({ "name": name, "plan": "standard" });
        let answer = self.post("/v1/resources", TokenScope::Write, &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        serde_json::from_str(&answer.text).unwrap()
    }

    /// Asks for a resource under an idempotency key.
    pub(super) async fn create_once(&self, name: &str, key: &str) -> Answer {
        let request = self
            .api
            .request(Method::POST, "/v1/resources")
            .bearer_auth(self.tokens.secret(TokenScope::Write))
            .header("idempotency-key", key)
            .json(&json!({ "name": name, "plan": "standard" }));
        self.api.send(request).await.unwrap()
    }

    /// Makes a resource available, as the worker does, with a password that the vault of the API
    /// opens.
    pub(super) async fn make_available(&self, id: ResourceId) -> (ServerId, ParticipantId) {
        let (server, participant) = (ServerId::new(), ParticipantId::new());
        let context = shared::db::resources::password_context(id);
        let password = self.api.vault.seal(&context, &Secret::new("hunter2"));
        sqlx::query(
            "with server as (
                insert into servers (id, provider, plan, state, state_since, host, agent_port,
                    postgres_port, request_id, created_at)
                values ($1, 'local', 'standard', 'ready', $5, '127.0.0.1', 7001, 7002, $6, $5)
            ), timeline as (
                insert into timelines (id, created_at) values ($2, $5)
            ), participant as (
                insert into participants (id, timeline_id, server_id, role, state, state_since,
                    postgres_major, prober_password, prober_verifier, request_id, created_at)
                values ($3, $2, $1, 'leader', 'serving', $5, 15, '', '', $6, $5)
            )
            update resources
            set participant_id = $3, state = 'available', endpoint_host = '127.0.0.1',
                endpoint_port = 7002, endpoint_upstream = '127.0.0.1:7002', endpoint_database = database_name, password = $7, verifier = $7, version = version + 1
            where id = $4",
        )
        .bind(server)
        .bind(TimelineId::new())
        .bind(participant)
        .bind(id)
        .bind(now())
        .bind(RequestId::new())
        .bind(password)
        .execute(&self.database.pool)
        .await
        .unwrap();
        (server, participant)
    }

    /// Whether a member is in the queue; waits for it, for wakes run beside the answers.
    pub(super) async fn wait_for_member(&self, ring: Ring, member: Member) {
        let queue = Queue::connect(QueueConfig::single(self.redis.url()).unwrap())
            .await
            .unwrap();
        let shard = queue.shard_of(ring, &member);
        let present = async {
            loop {
                let page = queue.members(shard, MembersCursor::START).await.unwrap();
                let rest = match page.next {
                    Some(cursor) => queue.members(shard, cursor).await.unwrap().members,
                    None => Vec::new(),
                };
                if page.members.contains(&member) || rest.contains(&member) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), present)
            .await
            .expect("the member is woken");
    }
}
