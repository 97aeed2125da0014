//! The intent that a follower shall go on by itself: a compare-and-set of `unfollow_requested_at`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::db::DbError;
use crate::db::operations::{self, Operation};
use crate::domain::OperationKind;
use crate::ids::{OperationId, RequestId, ResourceId, TokenId};

/// Who asks which follower to go on by itself.
#[derive(Debug, Clone, Copy)]
pub struct UnfollowRequest {
    /// The follower.
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
pub enum UnfollowError {
    /// It follows nobody.
    #[error("it does not follow another database")]
    FollowsNobody,
    /// It is still being made, or on its way out.
    #[error("it is not there yet, or on its way out")]
    NotReady,
    /// The control database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Writes the intent that a follower becomes a database of its own, with operation, job and audit
/// entry.
///
/// Asked again while that is under way, it changes nothing and gives the same operation. Run it in a
/// transaction that is rolled back on an error.
///
/// # Errors
/// [`UnfollowError`].
pub async fn request_unfollow(
    connection: &mut PgConnection,
    request: &UnfollowRequest,
) -> Result<Operation, UnfollowError> {
    super::lock(connection, request.resource_id).await?;
    let found = if set_intent(connection, request).await? {
        operations::get(&mut *connection, request.operation_id).await?
    } else {
        let id = request.resource_id;
        operations::find_pending(&mut *connection, id, OperationKind::Unfollow).await?
    };
    match found {
        Some(operation) => Ok(operation),
        None if follows(connection, request.resource_id).await? => Err(UnfollowError::NotReady),
        None => Err(UnfollowError::FollowsNobody),
    }
}

/// Whether this request is the one that decided it.
async fn set_intent(
    connection: &mut PgConnection,
    request: &UnfollowRequest,
) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"
        with independent as (
            update forks
            set unfollow_requested_at = $5
            from resources
            where
                forks.resource_id = $1
                and forks.follows
                and forks.unfollow_requested_at is null
                and resources.id = forks.resource_id
                and resources.destroy_requested_at is null
                and resources.state in ('available', 'unavailable', 'recovering')
            returning resources.id, resources.name
        ),
        new_operation as (
            insert into operations (id, resource_id, kind, state, request_id, created_at)
            select $2, id, 'unfollow', 'pending', $4, $5
            from independent
        ),
        new_job as (
            insert into jobs (kind, subject_id, request_id, created_at, changed_at)
            select 'catch_up', id, $4, $5, $5
            from independent
            -- Whoever is about to end one that was asked for before sees that this was, too.
            on conflict (kind, subject_id) do update
            set request_id = excluded.request_id, state = 'pending', attempts = 0
        ),
        audited as (
            insert into audit (token_id, action, subject, request_id, at)
            select $3, 'unfollow', 'resource ' || name, $4, $5
            from independent
        )
        select exists (select from independent) as "decided!"
        "#,
        request.resource_id.as_uuid(),
        request.operation_id.as_uuid(),
        request.token_id.as_uuid(),
        request.request_id.as_uuid(),
        request.now,
    )
    .fetch_one(connection)
    .await
    .map_err(DbError::during("request the end of following"))
}

/// Whether it follows another one, in whatever state it is.
async fn follows(connection: &mut PgConnection, id: ResourceId) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"
        select exists (
            select from forks
            where resource_id = $1 and follows and unfollowed_at is null
        ) as "follows!"
        "#,
        id.as_uuid(),
    )
    .fetch_one(connection)
    .await
    .map_err(DbError::during("read whether a resource follows another"))
}
