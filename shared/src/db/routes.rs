//! Where gateways lead the clients of each resource: words of workers, read by every replica.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::db::DbError;
use crate::domain::Traffic;
use crate::ids::ResourceId;
use crate::ports::Address;

/// Channel on which replicas hear that there is something to read.
pub const CHANNEL: &str = "ringmaster_routes";

/// A word about the route of a resource.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// The resource.
    pub resource: ResourceId,
    /// Number of the word.
    pub generation: u64,
    /// Where its clients are led; none to withdraw the route.
    pub upstream: Option<&'a Address>,
    /// What happens to clients.
    pub traffic: Traffic,
    /// Moment of the word.
    pub now: DateTime<Utc>,
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is the newest one: in force once replicas have applied the change of this number.
    Change(u64),
    /// A newer one was heard.
    OldGeneration,
    /// Another one of this number was heard.
    GenerationReused,
}

/// Hears a word. The same one again changes nothing.
pub async fn hear(pool: &PgPool, word: &Word<'_>) -> Result<Heard, DbError> {
    let failed = DbError::during("change a route");
    let mut transaction = pool.begin().await.map_err(failed)?;
    // Whoever is frozen in here holds up nobody else for long.
    sqlx::query!("set local idle_in_transaction_session_timeout = '2s'")
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    // Held until the end: replicas that have seen a change have seen all before it.
    let newest =
        sqlx::query_scalar!(r#"select newest as "newest!" from route_changes for no key update"#)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
    if let Some(heard) = former(&mut transaction, word).await? {
        return Ok(heard);
    }
    // Beyond every number before, also of a control database that was put back since.
    let change = word.now.timestamp_millis().max(newest + 1);
    write(&mut transaction, word, change).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(Heard::Change(change.unsigned_abs()))
}

/// What a word comes to because of the one before it; none if it is newer.
async fn former(connection: &mut PgConnection, word: &Word<'_>) -> Result<Option<Heard>, DbError> {
    let former = sqlx::query!(
        r#"
        select generation, host, port, traffic as "traffic: Traffic", change
        from routes
        where resource_id = $1
        "#,
        word.resource.as_uuid(),
    )
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("read a route"))?;
    let Some(former) = former else {
        return Ok(None);
    };
    let (host, port) = parts(word.upstream);
    let same =
        (former.host, former.port, former.traffic) == (host.map(str::to_owned), port, word.traffic);
    Ok(match number(word.generation).cmp(&former.generation) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Equal if same => Some(Heard::Change(former.change.unsigned_abs())),
        std::cmp::Ordering::Equal => Some(Heard::GenerationReused),
        std::cmp::Ordering::Less => Some(Heard::OldGeneration),
    })
}

async fn write(connection: &mut PgConnection, word: &Word<'_>, change: i64) -> Result<(), DbError> {
    let (host, port) = parts(word.upstream);
    sqlx::query!(
        r#"
        with counted as (
            update route_changes set newest = $6
        ),
        told as (
            select pg_notify($8, '')
        ),
        written as (
            insert into routes (resource_id, generation, host, port, traffic, change, changed_at)
            values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (resource_id) do update
            set
                generation = excluded.generation,
                host = excluded.host,
                port = excluded.port,
                traffic = excluded.traffic,
                change = excluded.change,
                changed_at = excluded.changed_at
        )
        select count(*) from told
        "#,
        word.resource.as_uuid(),
        number(word.generation),
        host,
        port,
        word.traffic.as_str(),
        change,
        word.now,
        CHANNEL,
    )
    .fetch_one(connection)
    .await
    .map_err(DbError::during("write a route"))?;
    Ok(())
}

/// A route as a replica reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoute {
    /// The resource.
    pub resource: ResourceId,
    /// Where its clients are led; none once the route was withdrawn.
    pub upstream: Option<Address>,
    /// What happens to clients.
    pub traffic: Traffic,
    /// Name of its database at the gateway.
    pub routing_name: String,
    /// Name of its database on the participant.
    pub database_name: String,
    /// Owner of the database.
    pub role_name: String,
    /// SCRAM verifier of the owner's password, encrypted; none after the end.
    pub verifier: Option<Vec<u8>>,
    /// Most connections of the owner.
    pub connection_limit: u32,
    /// Number of the change that made it so.
    pub change: u64,
}

/// Routes that changed after change number `applied`, in the order of their changes, and the number
/// of the last change there was: less than `applied` in a control database that was put back.
pub async fn changed_since(
    pool: &PgPool,
    applied: u64,
) -> Result<(u64, Vec<StoredRoute>), DbError> {
    // First: what changes meanwhile is read twice and not missed.
    let newest = sqlx::query_scalar!(r#"select newest as "newest!" from route_changes"#)
        .fetch_one(pool)
        .await
        .map_err(DbError::during(
            "read how many changes of routes there were",
        ))?;
    let rows = sqlx::query!(
        r#"
        select
            routes.resource_id as "resource: ResourceId",
            routes.host,
            routes.port,
            routes.traffic as "traffic: Traffic",
            routes.change,
            resources.routing_name,
            resources.database_name,
            resources.role_name,
            resources.verifier,
            plans.connection_limit
        from routes
        join resources on resources.id = routes.resource_id
        join plans on plans.name = resources.plan
        where routes.change > $1
        order by routes.change
        "#,
        number(applied),
    )
    .fetch_all(pool)
    .await
    .map_err(DbError::during("read routes"))?;
    let routes = rows.into_iter().map(|row| StoredRoute {
        resource: row.resource,
        upstream: row.host.zip(row.port).and_then(|(host, port)| {
            let port = u16::try_from(port).ok()?;
            Some(Address { host, port })
        }),
        traffic: row.traffic,
        routing_name: row.routing_name,
        database_name: row.database_name,
        role_name: row.role_name,
        verifier: row.verifier,
        connection_limit: row.connection_limit.unsigned_abs(),
        change: row.change.unsigned_abs(),
    });
    Ok((newest.unsigned_abs(), routes.collect()))
}

/// Name of the database of a resource at a gateway.
pub async fn routing_name(
    executor: impl PgExecutor<'_>,
    resource: ResourceId,
) -> Result<String, DbError> {
    sqlx::query_scalar!(
        "select routing_name from resources where id = $1",
        resource.as_uuid()
    )
    .fetch_one(executor)
    .await
    .map_err(DbError::during("read a name at the gateway"))
}

fn parts(upstream: Option<&Address>) -> (Option<&str>, Option<i32>) {
    let host = upstream.map(|address| address.host.as_str());
    (host, upstream.map(|address| i32::from(address.port)))
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
