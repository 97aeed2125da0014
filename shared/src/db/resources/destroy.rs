//! The intent to destroy a resource: a compare-and-set of `destroy_requested_at`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::db::DbError;
use crate::db::operations::{self, Operation};
use crate::db::resources::fork::followers_of;
use crate::domain::OperationKind;
use crate::ids::{OperationId, RequestId, ResourceId, TokenId};

/// Who asks to destroy what.
#[derive(Debug, Clone, Copy)]
pub struct DestroyRequest {
    /// Resource that shall go.
    pub resource_id: ResourceId,
    /// Id of the operation to follow, if this is the first such request.
    pub operation_id: OperationId,
    /// Token that asked.
    pub token_id: TokenId,
    /// Request that asked.
    pub request_id: RequestId,
    /// Moment of the request.
    pub now: DateTime<Utc>,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// Others follow it.
    #[error("it has followers: {}", .0.join(", "))]
    HasFollowers(Vec<String>),
    /// The control database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Writes the intent to destroy a living resource, with operation, job and audit entry.
///
/// Fails whatever else was asked for and waits, and gives the operation to follow. Asked again while that is under way,
/// it changes nothing and gives the same operation. `None` if no living resource has this id.
///
/// Run it in a transaction that is rolled back on an error.
///
/// # Errors
/// [`DestroyError`]: also while others follow it, which would have nothing to follow any more.
pub async fn request_destroy(
    connection: &mut PgConnection,
    request: &DestroyRequest,
) -> Result<Option<Operation>, DestroyError> {
    // Whoever asks for a follower takes the same lock: one of the two sees the other.
    super::lock(connection, request.resource_id).await?;
    let followers = followers_of(&mut *connection, request.resource_id).await?;
    if !followers.is_empty() {
        return Err(DestroyError::HasFollowers(followers));
    }
    let operation = if set_intent(connection, request).await? {
        operations::get(connection, request.operation_id).await
    } else {
        operations::find_pending(connection, request.resource_id, OperationKind::Destroy).await
    };
    Ok(operation?)
}

/// Whether this request is the one that decided it.
async fn set_intent(
    connection: &mut PgConnection,
    request: &DestroyRequest,
) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"
        with doomed as (
            update resources
            set destroy_requested_at = $5, request_id = $4, version = version + 1
            where id = $1 and destroy_requested_at is null and state <> 'deprovisioned'
            returning id, name
        ),
        failed_others as (
            update operations
            set state = 'failed', error = 'the resource was destroyed', finished_at = $5
            where resource_id = (select id from doomed) and kind <> 'destroy' and state = 'pending'
        ),
        new_operation as (
            insert into operations (id, resource_id, kind, state, request_id, created_at)
            select $2, id, 'destroy', 'pending', $4, $5
            from doomed
        ),
        new_job as (
            insert into jobs (kind, subject_id, request_id, created_at, changed_at)
            select 'deprovision', id, $4, $5, $5
            from doomed
            on conflict (kind, subject_id) do nothing
        ),
        audited as (
            insert into audit (token_id, action, subject, request_id, at)
            select $3, 'destroy', 'resource ' || name, $4, $5
            from doomed
        )
        select exists (select from doomed) as "decided!"
        "#,
        request.resource_id.as_uuid(),
        request.operation_id.as_uuid(),
        request.token_id.as_uuid(),
        request.request_id.as_uuid(),
        request.now,
    )
    .fetch_one(connection)
    .await
    .map_err(DbError::during("request the end of a resource"))
}
