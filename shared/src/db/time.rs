//! The time of the control database: the one that all workers agree on.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::DbError;

/// What the clock of the control database shows, at some moment between call and answer.
pub async fn now(executor: impl PgExecutor<'_>) -> Result<DateTime<Utc>, DbError> {
    sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
        .fetch_one(executor)
        .await
        .map_err(DbError::during("ask for the time"))
}
