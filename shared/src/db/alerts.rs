//! Alerts: what a person should look at. Each is open at most once for a subject.
//!
//! A subject with a machine has at most one alert, the gravest: that is
//! [`settle_alert`](super::fleet::settle_alert). A timeline has none and may have several.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Uuid;

use crate::db::{DbError, Limit, Page};
use crate::ids::ResourceId;

/// An alert to raise.
#[derive(Debug, Clone, Copy)]
pub struct NewAlert<'a> {
    /// Kind of alert; `docs/runbooks/` has a file of this name.
    pub name: &'a str,
    /// What it is about: resource, participant, server, timeline, job.
    pub subject_kind: &'a str,
    /// Id of what it is about.
    pub subject_id: Uuid,
    /// Resource it belongs to; none for what many resources share.
    pub resource_id: Option<ResourceId>,
    /// What is wrong this time.
    pub detail: &'a str,
    /// Moment of raising.
    pub now: DateTime<Utc>,
}

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

/// Raises an alert, unless it is open already (then only its detail is kept up to date). Tells
/// whether it is new.
pub async fn raise(executor: impl PgExecutor<'_>, new: &NewAlert<'_>) -> Result<bool, DbError> {
    let inserted = sqlx::query_scalar!(
        r#"
        insert into alerts as open (
            name, subject_kind, subject_id, resource_id, detail, raised_at
        )
        values ($1, $2, $3, $4, $5, $6)
        on conflict (name, subject_id) where cleared_at is null
        do update set detail = excluded.detail where open.detail <> excluded.detail
        -- A row that was just inserted has no former version.
        returning (xmax = 0) as "inserted!"
        "#,
        new.name,
        new.subject_kind,
        new.subject_id,
        new.resource_id.map(ResourceId::as_uuid),
        new.detail,
        new.now
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("raise an alert"))?;
    Ok(inserted.unwrap_or(false))
}

/// Clears an alert. Tells whether it was open.
pub async fn clear(
    executor: impl PgExecutor<'_>,
    name: &str,
    subject_id: Uuid,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let result = sqlx::query!(
        r#"
        update alerts
        set cleared_at = greatest($3, raised_at)
        where name = $1 and subject_id = $2 and cleared_at is null
        "#,
        name,
        subject_id,
        now
    )
    .execute(executor)
    .await
    .map_err(DbError::during("clear an alert"))?;
    Ok(result.rows_affected() > 0)
}

/// Clears every alert about a subject that is gone; tells how many were open.
pub async fn clear_all_of(
    executor: impl PgExecutor<'_>,
    subject_id: Uuid,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let result = sqlx::query!(
        r#"
        update alerts
        set cleared_at = greatest($2, raised_at)
        where subject_id = $1 and cleared_at is null
        "#,
        subject_id,
        now
    )
    .execute(executor)
    .await
    .map_err(DbError::during("clear the alerts of a subject"))?;
    Ok(result.rows_affected())
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

/// The oldest hundred open alerts about a resource, and about the participant, the server and the
/// timeline it is on.
pub async fn open_of_resource(
    executor: impl PgExecutor<'_>,
    resource_id: ResourceId,
) -> Result<Vec<Alert>, DbError> {
    sqlx::query_as!(
        Alert,
        r#"
        with place as (
            select unnest(array[p.id, p.server_id, p.timeline_id]) as subject_id
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
