//! What belongs into the queue, in pages: for its rebuild and its audit.

use sqlx::PgExecutor;

use crate::db::DbError;
use crate::ids::{ResourceId, ServerId};

/// Rows of one page.
const PAGE: i64 = 1000;

/// Living resources after `after`, by id, with the cadence of their plan in milliseconds.
pub async fn resources_alive(
    ex: impl PgExecutor<'_>,
    plan_is_urgent: bool,
    after: Option<ResourceId>,
) -> Result<Vec<(ResourceId, u64)>, DbError> {
    let rows = sqlx::query!(
        r#"
        select resources.id as "id: ResourceId", plans.cadence_ms
        from resources
        join plans on plans.name = resources.plan
        where
            resources.state <> 'deprovisioned'
            and (plans.name = 'premium') = $1
            and ($2::uuid is null or resources.id > $2)
        order by resources.id
        limit $3
        "#,
        plan_is_urgent,
        after.map(ResourceId::as_uuid),
        PAGE,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list living resources"))?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, u64::from(row.cadence_ms.unsigned_abs())))
        .collect())
}

/// Living servers after `after`, by id.
pub async fn servers_alive(
    ex: impl PgExecutor<'_>,
    after: Option<ServerId>,
) -> Result<Vec<ServerId>, DbError> {
    sqlx::query_scalar!(
        r#"
        select id as "id: ServerId"
        from servers
        where state <> 'terminated' and ($1::uuid is null or id > $1)
        order by id
        limit $2
        "#,
        after.map(ServerId::as_uuid),
        PAGE,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list living servers"))
}
