//! Observations: the newest of each resource, always, and a sampled history in partitions of one
//! day, which are created ahead and dropped by age.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgExecutor;
use sqlx::types::{Json, Uuid};

use crate::db::{DbError, Limit, Page};
use crate::domain::Observation;
use crate::ids::ResourceId;

/// Records what was seen as the newest, unless something newer is recorded.
///
/// Resources that do not exist are left out, and so are those that were forgotten on their way out:
/// a look that is recorded late must not bring anything of them back.
///
/// At most a thousand of them, so that the statement is short.
///
/// # Panics
/// With more than [`Limit::MOST`].
pub async fn record_newest(
    executor: impl PgExecutor<'_>,
    seen: &[(ResourceId, Observation)],
) -> Result<(), DbError> {
    let action = "record the newest observations";
    let columns = Columns::of(action, seen);
    sqlx::query!(
        r#"
        -- One row for each resource, in one order: two batches never wait for each other in a ring.
        with batch as (
            select distinct on (resource_id) resource_id, observed_at, available, body
            from unnest($1::uuid[], $2::timestamptz[], $3::boolean[], $4::jsonb[])
                as seen (resource_id, observed_at, available, body)
            where exists (
                select from resources
                where
                    id = resource_id
                    and (
                        state not in ('deprovisioning', 'deprovisioned')
                        or participant_id is not null
                    )
            )
            order by resource_id, observed_at desc
        )
        insert into observations as known (resource_id, observed_at, available, body)
        select resource_id, observed_at, available, body
        from batch
        on conflict (resource_id) do update
        set observed_at = excluded.observed_at,
            available = excluded.available,
            body = excluded.body
        where known.observed_at < excluded.observed_at
        "#,
        &columns.resource_ids,
        &columns.observed_at,
        &columns.available,
        columns.bodies.as_slice() as _,
    )
    .execute(executor)
    .await
    .map_err(DbError::during(action))?;
    Ok(())
}

/// Adds observations to the history; the same ones again change nothing. Their days must have a
/// partition ([`create_partition`]).
///
/// # Panics
/// With more than [`Limit::MOST`].
pub async fn record_history(
    executor: impl PgExecutor<'_>,
    seen: &[(ResourceId, Observation)],
) -> Result<(), DbError> {
    let action = "record observations in the history";
    let columns = Columns::of(action, seen);
    sqlx::query!(
        r#"
        insert into observation_history (resource_id, observed_at, available, body)
        select resource_id, observed_at, available, body
        from unnest($1::uuid[], $2::timestamptz[], $3::boolean[], $4::jsonb[])
            as seen (resource_id, observed_at, available, body)
        on conflict (resource_id, observed_at) do nothing
        "#,
        &columns.resource_ids,
        &columns.observed_at,
        &columns.available,
        columns.bodies.as_slice() as _,
    )
    .execute(executor)
    .await
    .map_err(DbError::during(action))?;
    Ok(())
}

/// The newest observation of a resource; `None` before the first.
pub async fn newest(
    executor: impl PgExecutor<'_>,
    resource_id: ResourceId,
) -> Result<Option<Observation>, DbError> {
    let body = sqlx::query_scalar!(
        r#"
        select body as "body: Json<Observation>"
        from observations
        where resource_id = $1
        "#,
        resource_id.as_uuid()
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read the newest observation"))?;
    Ok(body.map(|Json(observation)| observation))
}

/// What was seen of a resource: the newest and the sampled history, newest first, those older than
/// `before`.
pub async fn list(
    executor: impl PgExecutor<'_>,
    resource_id: ResourceId,
    before: Option<DateTime<Utc>>,
    limit: Limit,
) -> Result<Page<Observation, DateTime<Utc>>, DbError> {
    let bodies = sqlx::query_scalar!(
        r#"
        with newest as (
            select observed_at, body
            from observations
            where resource_id = $1 and ($2::timestamptz is null or observed_at < $2)
        ),
        sampled as (
            select observed_at, body
            from observation_history
            where resource_id = $1 and ($2::timestamptz is null or observed_at < $2)
            order by observed_at desc
            limit $3
        )
        -- The newest may be among the sampled ones.
        select body as "body!: Json<Observation>"
        from (select * from newest union select * from sampled) as seen
        order by observed_at desc
        limit $3
        "#,
        resource_id.as_uuid(),
        before,
        limit.and_one()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the observations of a resource"))?;
    let seen = bodies
        .into_iter()
        .map(|Json(observation)| observation)
        .collect();
    Ok(Page::of(seen, limit, |observation: &Observation| {
        observation.observed_at
    }))
}

/// Makes room in the history for a day (UTC). Tells whether there was none.
pub async fn create_partition(
    executor: impl PgExecutor<'_>,
    day: NaiveDate,
) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"select create_observation_partition($1) as "created!""#,
        day
    )
    .fetch_one(executor)
    .await
    .map_err(DbError::during("make room for a day of observations"))
}

/// Forgets the history of whole days (UTC) before `day`, at most 31 days a call; tells how many.
pub async fn drop_partitions(
    executor: impl PgExecutor<'_>,
    day: NaiveDate,
) -> Result<u32, DbError> {
    let dropped = sqlx::query_scalar!(
        r#"select drop_observation_partitions($1, 31) as "dropped!""#,
        day
    )
    .fetch_one(executor)
    .await
    .map_err(DbError::during("forget old observations"))?;
    Ok(u32::try_from(dropped).unwrap_or(0))
}

/// Observations as one array for each column.
struct Columns<'a> {
    resource_ids: Vec<Uuid>,
    observed_at: Vec<DateTime<Utc>>,
    available: Vec<bool>,
    bodies: Vec<Json<&'a Observation>>,
}

impl<'a> Columns<'a> {
    fn of(action: &'static str, seen: &'a [(ResourceId, Observation)]) -> Self {
        assert!(
            seen.len() <= usize::from(Limit::MOST),
            "{action}: the batch is too large"
        );
        Self {
            resource_ids: seen.iter().map(|(id, _)| id.as_uuid()).collect(),
            observed_at: seen
                .iter()
                .map(|(_, observation)| observation.observed_at)
                .collect(),
            available: seen
                .iter()
                .map(|(_, observation)| observation.available)
                .collect(),
            bodies: seen
                .iter()
                .map(|(_, observation)| Json(observation))
                .collect(),
        }
    }
}
