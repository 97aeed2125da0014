//! Ring epochs: numbers that only grow, so that no token of the queue is ever given twice.

use sqlx::PgExecutor;

use crate::db::DbError;

/// The next ring epoch, higher than all before it.
pub async fn next(executor: impl PgExecutor<'_>) -> Result<u64, DbError> {
    let action = "take the next ring epoch";
    let number = sqlx::query_scalar!(r#"select nextval('ring_epochs') as "number!""#)
        .fetch_one(executor)
        .await
        .map_err(DbError::during(action))?;
    u64::try_from(number).map_err(|source| DbError::Malformed {
        action,
        column: "ring_epochs",
        source: source.into(),
    })
}
