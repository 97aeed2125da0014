//! The audit log: who asked for which change. Creates and destroys of resources write their entry
//! in their own statement.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::{DbError, Limit};
use crate::ids::{RequestId, TokenId};

/// An entry, written in the transaction of the change.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Token that asked.
    pub token_id: TokenId,
    /// What was asked for: create, destroy, retry, revoke.
    pub action: &'a str,
    /// Of what, in the words of the request.
    pub subject: &'a str,
    /// The request.
    pub request_id: RequestId,
    /// Moment of the request.
    pub at: DateTime<Utc>,
}

/// Records an entry.
pub async fn record(executor: impl PgExecutor<'_>, entry: &Entry<'_>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        insert into audit (token_id, action, subject, request_id, at)
        values ($1, $2, $3, $4, $5)
        "#,
        entry.token_id.as_uuid(),
        entry.action,
        entry.subject,
        entry.request_id.as_uuid(),
        entry.at
    )
    .execute(executor)
    .await
    .map_err(DbError::during("record who asked"))?;
    Ok(())
}

/// Forgets entries from before `before`, at most `limit` of them; tells how many. Call it again
/// while it is `limit`.
pub async fn purge(
    executor: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    limit: Limit,
) -> Result<u64, DbError> {
    let result = sqlx::query!(
        r#"
        delete from audit
        where id in (
            select id
            from audit
            where at < $1
            order by at
            limit $2
        )
        "#,
        before,
        limit.rows()
    )
    .execute(executor)
    .await
    .map_err(DbError::during("purge the audit log"))?;
    Ok(result.rows_affected())
}
