//! Resources as customers and the API see them. What the worker's turns load and record is in
//! `fleet`; the intents that a customer can have are in [`create`], [`rotate`], [`unfollow`] and [`destroy`].

pub mod create;
pub mod destroy;
pub mod fork;
pub mod rotate;
pub mod unfollow;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::db::{DbError, Limit, Page};
use crate::domain::ResourceState;
use crate::ids::{RequestId, ResourceId};

/// A resource, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Id of the resource.
    pub id: ResourceId,
    /// Name chosen by the customer, unique among living ones.
    pub name: String,
    /// Plan it is on.
    pub plan: String,
    /// Where it is in its life.
    pub state: ResourceState,
    /// Moment it entered this state.
    pub state_since: DateTime<Utc>,
    /// Moment after which this state raises an alert; none where it may stay.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Moment the customer asked to destroy it; none while it shall live.
    pub destroy_requested_at: Option<DateTime<Utc>>,
    /// Why it is not well, for people; none when it is.
    pub problem: Option<String>,
    /// Host in the URL; none before the first placement.
    pub endpoint_host: Option<String>,
    /// Port in the URL.
    pub endpoint_port: Option<i32>,
    /// Major version of PostgreSQL it runs on; none before placement and after the end.
    pub postgres_major: Option<i32>,
    /// Request that made it or last changed its intent.
    pub request_id: RequestId,
    /// Moment it was asked for.
    pub created_at: DateTime<Utc>,
}

/// Locks a resource: what its customer decides is decided one after the other. To be followed by a
/// statement of its own, which sees what was decided before.
async fn lock(connection: &mut PgConnection, id: ResourceId) -> Result<(), DbError> {
    sqlx::query!(
        "select id from resources where id = $1 for no key update",
        id.as_uuid()
    )
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("lock a resource"))?;
    Ok(())
}

/// The living resource called `name`.
pub async fn get_by_name(
    executor: impl PgExecutor<'_>,
    name: &str,
) -> Result<Option<Resource>, DbError> {
    sqlx::query_as!(
        Resource,
        r#"
        select r.id, r.name, r.plan, r.state as "state: ResourceState", r.state_since,
            r.deadline_at, r.destroy_requested_at, r.problem, r.endpoint_host, r.endpoint_port,
            p.postgres_major as "postgres_major?", r.request_id, r.created_at
        from resources r
        left join participants p on p.id = r.participant_id
        where r.name = $1 and r.state <> 'deprovisioned'
        "#,
        name
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read a resource by its name"))
}

/// The resource with this id, living or deprovisioned.
pub async fn get(
    executor: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<Resource>, DbError> {
    sqlx::query_as!(
        Resource,
        r#"
        select r.id, r.name, r.plan, r.state as "state: ResourceState", r.state_since,
            r.deadline_at, r.destroy_requested_at, r.problem, r.endpoint_host, r.endpoint_port,
            p.postgres_major as "postgres_major?", r.request_id, r.created_at
        from resources r
        left join participants p on p.id = r.participant_id
        where r.id = $1
        "#,
        id.as_uuid()
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read a resource"))
}

/// Living resources in order of age, those after `after`.
pub async fn list(
    executor: impl PgExecutor<'_>,
    after: Option<ResourceId>,
    limit: Limit,
) -> Result<Page<Resource, ResourceId>, DbError> {
    let rows = sqlx::query_as!(
        Resource,
        r#"
        select r.id, r.name, r.plan, r.state as "state: ResourceState", r.state_since,
            r.deadline_at, r.destroy_requested_at, r.problem, r.endpoint_host, r.endpoint_port,
            p.postgres_major as "postgres_major?", r.request_id, r.created_at
        from resources r
        left join participants p on p.id = r.participant_id
        where r.state <> 'deprovisioned' and ($1::uuid is null or r.id > $1)
        order by r.id
        limit $2
        "#,
        after.map(ResourceId::as_uuid),
        limit.and_one()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the resources"))?;
    Ok(Page::of(rows, limit, |row| row.id))
}

/// What a URL is made of; the password is still encrypted (`shared::secret::Vault`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Owner of the database.
    pub role_name: String,
    /// Name of the database at the endpoint.
    pub endpoint_database: String,
    /// Encrypted password of the owner, bound to [`password_context`].
    pub password: Vec<u8>,
    /// Host of the endpoint.
    pub endpoint_host: String,
    /// Port of the endpoint.
    pub endpoint_port: i32,
    /// Port there for connections that are pooled by transaction; null where there is none.
    pub endpoint_pooled_port: Option<i32>,
}

/// What the password of a resource is bound to when it is encrypted.
pub fn password_context(id: ResourceId) -> String {
    format!("resource/{id}/password")
}

/// What its SCRAM verifier is bound to.
pub fn verifier_context(id: ResourceId) -> String {
    format!("resource/{id}/verifier")
}

/// What the URL of resource `id` is made of; `None` before all of it is made, and after the end.
pub async fn credentials(
    executor: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<Credentials>, DbError> {
    sqlx::query_as!(
        Credentials,
        r#"
        select role_name, endpoint_database as "endpoint_database!", password as "password!",
            endpoint_host as "endpoint_host!", endpoint_port as "endpoint_port!",
            endpoint_pooled_port
        from resources
        where id = $1 and password is not null and endpoint_host is not null
        "#,
        id.as_uuid()
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read the credentials of a resource"))
}
