//! How many there are of what: for the metrics that are sampled.

use sqlx::PgExecutor;

use crate::db::DbError;

/// A number of rows that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// What they are: a machine, `alert` or `dead job`.
    pub of: String,
    /// What they have in common: state, name or kind.
    pub which: String,
    /// How many.
    pub number: i64,
}

/// Counts resources, participants and servers by state, open alerts by name and dead jobs by kind.
pub async fn census(ex: impl PgExecutor<'_>) -> Result<Vec<Count>, DbError> {
    sqlx::query_as!(
        Count,
        r#"
        select 'resource' as "of!", state as "which!", count(*) as "number!"
        from resources
        group by state
        union all
        select 'participant', state, count(*) from participants group by state
        union all
        select 'server', state, count(*) from servers group by state
        union all
        select 'alert', name, count(*) from alerts where cleared_at is null group by name
        union all
        select 'dead job', kind, count(*) from jobs where state = 'dead' group by kind
        "#
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("count what there is"))
}
