//! Operations: requests of customers that take longer than an HTTP call.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::{DbError, Limit, Page};
use crate::domain::{OperationKind, OperationState};
use crate::ids::{OperationId, RequestId, ResourceId};

/// An operation, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Id of the operation.
    pub id: OperationId,
    /// Resource it is about.
    pub resource_id: ResourceId,
    /// Name of that resource.
    pub resource_name: String,
    /// What was asked for.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// Why it failed; none otherwise.
    pub error: Option<String>,
    /// Request that asked for it.
    pub request_id: RequestId,
    /// Moment it was asked for.
    pub created_at: DateTime<Utc>,
    /// Moment it ended; none while pending.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The operation with this id.
pub async fn get(
    executor: impl PgExecutor<'_>,
    id: OperationId,
) -> Result<Option<Operation>, DbError> {
    sqlx::query_as!(
        Operation,
        r#"
        select o.id, o.resource_id, r.name as resource_name, o.kind as "kind: OperationKind",
            o.state as "state: OperationState", o.error, o.request_id, o.created_at, o.finished_at
        from operations o
        join resources r on r.id = o.resource_id
        where o.id = $1
        "#,
        id.as_uuid()
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read an operation"))
}

/// The pending operation of this kind on a resource; there is at most one.
pub async fn find_pending(
    executor: impl PgExecutor<'_>,
    resource_id: ResourceId,
    kind: OperationKind,
) -> Result<Option<Operation>, DbError> {
    sqlx::query_as!(
        Operation,
        r#"
        select o.id, o.resource_id, r.name as resource_name, o.kind as "kind: OperationKind",
            o.state as "state: OperationState", o.error, o.request_id, o.created_at, o.finished_at
        from operations o
        join resources r on r.id = o.resource_id
        where o.resource_id = $1 and o.kind = $2 and o.state = 'pending'
        "#,
        resource_id.as_uuid(),
        kind.as_str()
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("find a pending operation"))
}

/// Operations, newest first, those older than `before`; of one resource or of all.
pub async fn list(
    executor: impl PgExecutor<'_>,
    resource_id: Option<ResourceId>,
    before: Option<OperationId>,
    limit: Limit,
) -> Result<Page<Operation, OperationId>, DbError> {
    let rows = sqlx::query_as!(
        Operation,
        r#"
        select o.id, o.resource_id, r.name as resource_name, o.kind as "kind: OperationKind",
            o.state as "state: OperationState", o.error, o.request_id, o.created_at, o.finished_at
        from operations o
        join resources r on r.id = o.resource_id
        where ($1::uuid is null or o.resource_id = $1) and ($2::uuid is null or o.id < $2)
        order by o.id desc
        limit $3
        "#,
        resource_id.map(ResourceId::as_uuid),
        before.map(OperationId::as_uuid),
        limit.and_one()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the operations"))?;
    Ok(Page::of(rows, limit, |row| row.id))
}

/// Ends the pending operation of this kind on a resource: it succeeded, or failed because of
/// `error`. Tells whether one was pending; ended operations never change.
pub async fn finish(
    executor: impl PgExecutor<'_>,
    resource_id: ResourceId,
    kind: OperationKind,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let result = sqlx::query!(
        r#"
        update operations
        set state = case when $3::text is null then 'succeeded' else 'failed' end,
            error = $3,
            finished_at = $4
        where resource_id = $1 and kind = $2 and state = 'pending'
        "#,
        resource_id.as_uuid(),
        kind.as_str(),
        error,
        now
    )
    .execute(executor)
    .await
    .map_err(DbError::during("finish an operation"))?;
    Ok(result.rows_affected() > 0)
}
