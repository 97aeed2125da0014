//! Alerts: what a person should look at. What raises and clears them is
//! [`settle_alert`](super::fleet::settle_alert).

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Uuid;

use crate::db::{DbError, Limit, Page};
use crate::ids::ResourceId;

/// An open alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Order of raising.
    pub id: i64,
    /// Kind of alert.
    pub name: String,
    /// What it is about.
    pub subject_kind: String,
    /// Id of what it is about.
    pub subject_id: Uuid,
    /// What is wrong this time.
    pub detail: String,
    /// Moment it was raised.
    pub raised_at: DateTime<Utc>,
}

/// Open alerts in order of raising, those after `after`.
pub async fn list_open(
    executor: impl PgExecutor<'_>,
    after: Option<i64>,
    limit: Limit,
) -> Result<Page<Alert, i64>, DbError> {
    let rows = sqlx::query_as!(
        Alert,
        r#"
        select id, name, subject_kind, subject_id, detail, raised_at
        from alerts
        where cleared_at is null and ($1::bigint is null or id > $1)
        order by id
        limit $2
        "#,
        after,
        limit.and_one()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the open alerts"))?;
    Ok(Page::of(rows, limit, |row| row.id))
}

/// The oldest hundred open alerts about a resource, and about the participant and the server it is
/// on.
pub async fn open_of_resource(
    executor: impl PgExecutor<'_>,
    resource_id: ResourceId,
) -> Result<Vec<Alert>, DbError> {
    sqlx::query_as!(
        Alert,
        r#"
        with place as (
            select unnest(array[p.id, p.server_id]) as subject_id
            from resources r
            join participants p on p.id = r.participant_id
            where r.id = $1
        )
        select id, name, subject_kind, subject_id, detail, raised_at
        from alerts
        where cleared_at is null
            and (resource_id = $1 or subject_id = $1 or subject_id in (select * from place))
        order by id
        limit 100
        "#,
        resource_id.as_uuid()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the open alerts of a resource"))
}
