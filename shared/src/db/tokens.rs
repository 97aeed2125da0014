//! API tokens: only their hashes are stored.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::{DbError, Limit, Page};
use crate::domain::TokenScope;
use crate::ids::TokenId;

/// A token to store.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    /// Id of the token.
    pub id: TokenId,
    /// What people call it.
    pub name: &'a str,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// What it allows.
    pub scope: TokenScope,
    /// Moment it is made.
    pub now: DateTime<Utc>,
    /// Moment from which it is refused.
    pub expires_at: DateTime<Utc>,
}

/// A stored token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Id of the token.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scope: TokenScope,
    /// Moment it was made.
    pub created_at: DateTime<Utc>,
    /// Moment from which it is refused.
    pub expires_at: DateTime<Utc>,
    /// Moment it was taken back; none while it is good.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Who sent a good token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    /// Id of the token.
    pub id: TokenId,
    /// What it allows.
    pub scope: TokenScope,
    /// Moment from which it is refused.
    pub expires_at: DateTime<Utc>,
}

/// Stores a token, unless one with the same hash is stored. Tells whether it is new.
pub async fn create(executor: impl PgExecutor<'_>, new: &NewToken<'_>) -> Result<bool, DbError> {
    let result = sqlx::query!(
        r#"
        insert into tokens (id, name, hash, scope, created_at, expires_at)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (hash) do nothing
        "#,
        new.id.as_uuid(),
        new.name,
        new.hash.as_slice(),
        new.scope.as_str(),
        new.now,
        new.expires_at
    )
    .execute(executor)
    .await
    .map_err(DbError::during("create a token"))?;
    Ok(result.rows_affected() == 1)
}

/// The bearer of the token with this hash; `None` if there is none that is neither expired nor
/// revoked at `now`.
pub async fn authenticate(
    executor: impl PgExecutor<'_>,
    hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<Bearer>, DbError> {
    sqlx::query_as!(
        Bearer,
        r#"
        select id, scope as "scope: TokenScope", expires_at
        from tokens
        where hash = $1 and revoked_at is null and expires_at > $2
        "#,
        hash.as_slice(),
        now
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("check a token"))
}

/// Tokens in order of age, those after `after`; also expired and revoked ones.
pub async fn list(
    executor: impl PgExecutor<'_>,
    after: Option<TokenId>,
    limit: Limit,
) -> Result<Page<Token, TokenId>, DbError> {
    let rows = sqlx::query_as!(
        Token,
        r#"
        select id, name, scope as "scope: TokenScope", created_at, expires_at, revoked_at
        from tokens
        where $1::uuid is null or id > $1
        order by id
        limit $2
        "#,
        after.map(TokenId::as_uuid),
        limit.and_one()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the tokens"))?;
    Ok(Page::of(rows, limit, |row| row.id))
}

/// Takes a token back; one that was taken back before keeps its moment. Gives the token; `None` if
/// there is none with this id.
pub async fn revoke(
    executor: impl PgExecutor<'_>,
    id: TokenId,
    now: DateTime<Utc>,
) -> Result<Option<Token>, DbError> {
    sqlx::query_as!(
        Token,
        r#"
        update tokens
        set revoked_at = coalesce(revoked_at, $2)
        where id = $1
        returning id, name, scope as "scope: TokenScope", created_at, expires_at, revoked_at
        "#,
        id.as_uuid(),
        now
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("revoke a token"))
}
