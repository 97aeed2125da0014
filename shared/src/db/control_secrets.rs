//! Secrets of the control plane itself, encrypted by the caller: made once, by whoever comes first.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::db::DbError;

/// The encrypted secret called `name`.
pub async fn get(executor: impl PgExecutor<'_>, name: &str) -> Result<Option<Vec<u8>>, DbError> {
    sqlx::query_scalar!(
        r#"
        select value
        from control_secrets
        where name = $1
        "#,
        name
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read a secret of the control plane"))
}

/// Stores the encrypted secret called `name`, unless there is one. Gives the one that is stored: of
/// two processes that make it at once, both get the first one's.
pub async fn get_or_insert(
    connection: &mut PgConnection,
    name: &str,
    value: &[u8],
    now: DateTime<Utc>,
) -> Result<Vec<u8>, DbError> {
    let action = "store a secret of the control plane";
    sqlx::query!(
        r#"
        insert into control_secrets (name, value, created_at)
        values ($1, $2, $3)
        on conflict (name) do nothing
        "#,
        name,
        value,
        now
    )
    .execute(&mut *connection)
    .await
    .map_err(DbError::during(action))?;
    get(connection, name)
        .await?
        .ok_or(DbError::Stale { action })
}
