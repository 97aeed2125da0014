//! What the tests of the control database start from.

use chrono::{DateTime, Duration, TimeZone as _, Utc};
use shared::db::idempotency::Key;
use shared::db::resources::create::{CreateError, Created, NewResource, create};
use shared::domain::{ResourceName, TokenScope};
use shared::ids::{
    OperationId, ParticipantId, RequestId, ResourceId, ServerId, TimelineId, TokenId,
};
use sqlx::PgPool;
use tests::control_database::ControlDatabase;

/// A control database with one token.
pub(super) struct World {
    pub(super) database: ControlDatabase,
    pub(super) token_id: TokenId,
}

/// The moment at which everything happens.
pub(super) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap()
}

impl World {
    pub(super) async fn start() -> Self {
        let database = ControlDatabase::start().await.unwrap();
        let (token_id, _) = database.token(TokenScope::Write, now()).await.unwrap();
        Self { database, token_id }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    /// Asks for a resource on the plan standard.
    pub(super) async fn create(&self, name: &str) -> Result<Created, CreateError> {
        self.create_with(name, "standard", None).await
    }

    pub(super) async fn create_with(
        &self,
        name: &str,
        plan: &str,
        key: Option<Key<'_>>,
    ) -> Result<Created, CreateError> {
        let name: ResourceName = name.parse().unwrap();
        let new = NewResource {
            id: ResourceId::new(),
            operation_id: OperationId::new(),
            name: &name,
            plan,
            fork: None,
            deadline_at: now() + Duration::minutes(5),
            token_id: self.token_id,
            key,
            request_id: RequestId::new(),
            now: now(),
        };
        create(self.pool(), &new).await
    }

    /// Puts a resource onto a new server, as the worker does, and says that it is available.
    pub(super) async fn place(&self, resource_id: ResourceId) -> (ServerId, ParticipantId) {
        let (server, timeline, participant) =
            (ServerId::new(), TimelineId::new(), ParticipantId::new());
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
                endpoint_port = 7002, endpoint_upstream = '127.0.0.1:7002', endpoint_database = database_name, version = version + 1
            where id = $4",
        )
        .bind(server)
        .bind(timeline)
        .bind(participant)
        .bind(resource_id)
        .bind(now())
        .bind(RequestId::new())
        .execute(self.pool())
        .await
        .unwrap();
        (server, participant)
    }
}
