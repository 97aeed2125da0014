//! Idempotency keys: creates that were already answered. They are written by the statement that
//! does what was asked for.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use crate::db::operations::{self, Operation};
use crate::db::{DbError, Limit};
use crate::ids::{OperationId, TokenId};

/// The constraint that makes a second use of a key fail.
pub(crate) const ONE_USE_OF_A_KEY: &str = "idempotency_keys_pkey";

/// A key and what it was sent with.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// Text that the client chose, 1 to 255 characters.
    pub key: &'a str,
    /// SHA-256 of the request: the same key with another request is refused.
    pub request_hash: [u8; 32],
}

/// What a request was answered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// Nothing: it has no key, or one that was not used.
    New,
    /// This.
    Answered(Operation),
    /// Its key was used for another request.
    OtherRequest,
}

/// What a request of a token with `key` was answered before, whatever has happened since.
pub async fn replay(
    pool: &PgPool,
    token_id: TokenId,
    key: Option<Key<'_>>,
) -> Result<Replay, DbError> {
    let Some(key) = key else {
        return Ok(Replay::New);
    };
    let used = sqlx::query!(
        r#"
        select request_hash, operation_id as "operation_id: OperationId"
        from idempotency_keys
        where token_id = $1 and key = $2
        "#,
        token_id.as_uuid(),
        key.key,
    )
    .fetch_optional(pool)
    .await
    .map_err(DbError::during("look up an idempotency key"))?;
    let Some(used) = used else {
        return Ok(Replay::New);
    };
    if used.request_hash != key.request_hash {
        return Ok(Replay::OtherRequest);
    }
    let operation = operations::get(pool, used.operation_id).await?;
    Ok(operation.map_or(Replay::New, Replay::Answered))
}

/// Forgets keys used before `before`, at most `limit` of them; tells how many. Call it again while
/// it is `limit`.
pub async fn purge(
    executor: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    limit: Limit,
) -> Result<u64, DbError> {
    let result = sqlx::query!(
        r#"
        delete from idempotency_keys
        where (token_id, key) in (
            select token_id, key
            from idempotency_keys
            where created_at < $1
            order by created_at
            limit $2
        )
        "#,
        before,
        limit.rows()
    )
    .execute(executor)
    .await
    .map_err(DbError::during("purge idempotency keys"))?;
    Ok(result.rows_affected())
}
