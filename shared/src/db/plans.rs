//! Plans: what a customer can choose. Rows come from migrations; nothing here writes them.

use sqlx::PgExecutor;

use crate::db::DbError;

/// A plan, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name, as customers write it.
    pub name: String,
    /// Whether each resource gets a server of its own.
    pub dedicated: bool,
    /// Whether new resources may choose it.
    pub offered: bool,
    /// Milliseconds between two turns of an available resource, before jitter.
    pub cadence_ms: i32,
    /// Most connections a customer may hold to one database.
    pub connection_limit: i32,
    /// Most databases on one server.
    pub databases_per_server: i32,
}

/// All plans, by name. There are a handful, so this list has no pages.
pub async fn list(executor: impl PgExecutor<'_>) -> Result<Vec<Plan>, DbError> {
    sqlx::query_as!(
        Plan,
        r#"
        select name, dedicated, offered, cadence_ms, connection_limit, databases_per_server
        from plans
        order by name
        limit 1000
        "#
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the plans"))
}

/// The plan called `name`.
pub async fn get(executor: impl PgExecutor<'_>, name: &str) -> Result<Option<Plan>, DbError> {
    sqlx::query_as!(
        Plan,
        r#"
        select name, dedicated, offered, cadence_ms, connection_limit, databases_per_server
        from plans
        where name = $1
        "#,
        name
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read a plan"))
}
