//! Idempotency keys: creates that were already answered. They are written by the statement that
//! does what was asked for.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

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

/// The first use of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedKey {
    /// SHA-256 of the request.
    pub request_hash: Vec<u8>,
    /// What the first answer named.
    pub operation_id: OperationId,
}

/// The first use of `key` by a token.
pub async fn lookup(
    executor: impl PgExecutor<'_>,
    token_id: TokenId,
    key: &str,
) -> Result<Option<UsedKey>, DbError> {
    sqlx::query_as!(
        UsedKey,
        r#"
        select request_hash, operation_id
        from idempotency_keys
        where token_id = $1 and key = $2
        "#,
        token_id.as_uuid(),
        key
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("look up an idempotency key"))
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
