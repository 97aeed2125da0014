//! What the steps of a resource record: secrets, route, withdrawal, the end.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::Recorded;
use crate::db::DbError;
use crate::ids::ResourceId;
use crate::ports::{Place, Route};

/// The password of a database's owner, encrypted for the row it goes to.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The password.
    pub password: Vec<u8>,
    /// Its SCRAM verifier.
    pub verifier: Vec<u8>,
}

/// Stores the owner's password, unless there is one.
pub async fn record_secret(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
    credential: &Credential,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update resources
        set password = $3, verifier = $4, version = version + 1
        where id = $1 and version = $2 and password is null and state = 'creating'
        "#,
        id.as_uuid(),
        version,
        credential.password,
        credential.verifier,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("record a secret"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Allocates the next generation of the endpoint, before it is told.
pub async fn allocate_route(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
    generation: u64,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update resources
        set endpoint_generation = $3::bigint, version = version + 1
        where id = $1 and version = $2 and endpoint_generation = $3::bigint - 1
        "#,
        id.as_uuid(),
        version,
        i64::try_from(generation).unwrap_or(i64::MAX),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("allocate a generation of the endpoint"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Stores what customers use, as the endpoint acknowledged it for `route`; a password that was asked for
/// is in force then.
pub async fn record_route(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
    (route, place): (&Route, &Place),
    at: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with recorded as (
            update resources
            set
                endpoint_host = $3,
                endpoint_port = $4,
                endpoint_upstream = $6,
                endpoint_database = $7,
                endpoint_pooled_port = $8,
                endpoint_acknowledged_generation = $5,
                version = version + 1
            where id = $1 and version = $2 and endpoint_generation = $5
            returning id
        ),
        rotated as (
            update operations
            set state = 'succeeded', finished_at = $9
            from recorded
            where
                operations.resource_id = recorded.id
                and operations.kind = 'rotate'
                and operations.state = 'pending'
            returning 1
        )
        select count(*) as "count!" from recorded
        "#,
        id.as_uuid(),
        version,
        place.address.host,
        i32::from(place.address.port),
        i64::try_from(route.generation).unwrap_or(i64::MAX),
        route.upstream.to_string(),
        place.database,
        place.pooled_port.map(i32::from),
        at,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("record a route"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}

/// Erases the address of a resource that is on its way out, as the endpoint acknowledged with
/// `generation`; for one with a server of its own, also asks for the end of the participant.
pub async fn withdraw(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
    generation: u64,
    at: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with withdrawn as (
            update resources
            set
                endpoint_host = null,
                endpoint_port = null,
                endpoint_upstream = null,
                endpoint_database = null,
                endpoint_pooled_port = null,
                endpoint_acknowledged_generation = $4,
                version = version + 1
            where id = $1 and version = $2 and endpoint_generation = $4 and state = 'deprovisioning'
            returning id, participant_id, plan
        ),
        overtaken as (
            update operations
            set state = 'failed', error = 'the database was destroyed', finished_at = $3
            from withdrawn
            where
                operations.resource_id = withdrawn.id
                and operations.kind = 'rotate'
                and operations.state = 'pending'
            returning 1
        ),
        ended as (
            update participants
            set destroy_requested_at = $3, version = version + 1
            from withdrawn
            join plans on plans.name = withdrawn.plan and plans.dedicated
            where
                participants.id = withdrawn.participant_id
                and participants.destroy_requested_at is null
            returning 1
        )
        select count(*) as "count!" from withdrawn
        "#,
        id.as_uuid(),
        version,
        at,
        i64::try_from(generation).unwrap_or(i64::MAX),
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("withdraw a resource"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}

/// Erases the secrets of a resource that is on its way out, with its newest observation, and
/// detaches it.
pub async fn forget(
    ex: impl PgExecutor<'_>,
    (id, version): (ResourceId, i64),
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with forgotten as (
            update resources
            set
                password = null,
                verifier = null,
                participant_id = null,
                endpoint_host = null,
                endpoint_port = null,
                endpoint_upstream = null,
                endpoint_database = null,
                endpoint_pooled_port = null,
                version = version + 1
            where id = $1 and version = $2 and state = 'deprovisioning'
            returning id
        ),
        unseen as (
            delete from observations using forgotten
            where observations.resource_id = forgotten.id
            returning 1
        )
        select count(*) as "count!" from forgotten
        "#,
        id.as_uuid(),
        version,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("forget a resource"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}
