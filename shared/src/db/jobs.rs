//! Jobs: work with an end. A row exists from the intent until the goal is reached; the queue in
//! Redis only says when, and can be made again from these rows.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Uuid;

use crate::db::{DbError, Limit, Page};
use crate::domain::{JobKind, JobState};
use crate::ids::RequestId;

/// What names a job: at most one of each kind for a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// What is to be done.
    pub kind: JobKind,
    /// Id of what it is done to.
    pub subject_id: Uuid,
}

/// A job, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What is to be done.
    pub kind: JobKind,
    /// Id of what it is done to.
    pub subject_id: Uuid,
    /// Name of that resource.
    pub resource_name: Option<String>,
    /// Whether it is still tried.
    pub state: JobState,
    /// Failed turns in a row.
    pub attempts: i32,
    /// What the last failed turn said.
    pub last_error: Option<String>,
    /// Request that asked for it.
    pub request_id: RequestId,
    /// Moment it was asked for.
    pub created_at: DateTime<Utc>,
    /// Moment of the last failed turn or change of state.
    pub changed_at: DateTime<Utc>,
}

impl Job {
    /// What names it.
    pub fn key(&self) -> JobKey {
        JobKey {
            kind: self.kind,
            subject_id: self.subject_id,
        }
    }
}

/// Asks for a job; one that is there already stays as it is. Tells whether it is new.
pub async fn ask(
    executor: impl PgExecutor<'_>,
    key: JobKey,
    request_id: RequestId,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let result = sqlx::query!(
        r#"
        insert into jobs (kind, subject_id, request_id, created_at, changed_at)
        values ($1, $2, $3, $4, $4)
        on conflict (kind, subject_id) do nothing
        "#,
        key.kind.as_str(),
        key.subject_id,
        request_id.as_uuid(),
        now
    )
    .execute(executor)
    .await
    .map_err(DbError::during("ask for a job"))?;
    Ok(result.rows_affected() == 1)
}

/// The job of this name; `None` once its goal is reached.
pub async fn get(executor: impl PgExecutor<'_>, key: JobKey) -> Result<Option<Job>, DbError> {
    sqlx::query_as!(
        Job,
        r#"
        select j.kind as "kind: JobKind", j.subject_id, r.name as "resource_name?",
            j.state as "state: JobState", j.attempts, j.last_error, j.request_id, j.created_at,
            j.changed_at
        from jobs j
        left join resources r on r.id = j.subject_id
        where j.kind = $1 and j.subject_id = $2
        "#,
        key.kind.as_str(),
        key.subject_id
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("read a job"))
}

/// Jobs by kind and age, those after `after`; in one state or all.
pub async fn list(
    executor: impl PgExecutor<'_>,
    state: Option<JobState>,
    after: Option<JobKey>,
    limit: Limit,
) -> Result<Page<Job, JobKey>, DbError> {
    let rows = sqlx::query_as!(
        Job,
        r#"
        select j.kind as "kind: JobKind", j.subject_id, r.name as "resource_name?",
            j.state as "state: JobState", j.attempts, j.last_error, j.request_id, j.created_at,
            j.changed_at
        from jobs j
        left join resources r on r.id = j.subject_id
        where ($1::text is null or j.state = $1)
            and ($2::text is null or (j.kind, j.subject_id) > ($2, $3))
        order by j.kind, j.subject_id
        limit $4
        "#,
        state.map(JobState::as_str),
        after.map(|key| key.kind.as_str()),
        after.map(|key| key.subject_id),
        limit.and_one()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the jobs"))?;
    Ok(Page::of(rows, limit, Job::key))
}

/// Every job of these kinds that shall be in the queue, by kind and age, those after `after`: for
/// the audit and to build the queue anew.
pub async fn pending(
    executor: impl PgExecutor<'_>,
    kinds: &[JobKind],
    after: Option<JobKey>,
    limit: Limit,
) -> Result<Page<JobKey, JobKey>, DbError> {
    let rows = sqlx::query_as!(
        JobKey,
        r#"
        select kind as "kind: JobKind", subject_id
        from jobs
        where
            state = 'pending'
            and kind = any($4)
            and ($1::text is null or (kind, subject_id) > ($1, $2))
        order by kind, subject_id
        limit $3
        "#,
        after.map(|key| key.kind.as_str()),
        after.map(|key| key.subject_id),
        limit.and_one(),
        &kinds
            .iter()
            .map(|kind| kind.as_str().to_owned())
            .collect::<Vec<_>>()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the pending jobs"))?;
    Ok(Page::of(rows, limit, |key| *key))
}

/// Counts a failed turn, and gives the job after that; `None` if it is gone.
///
/// After `attempts_max` of them in a row the job is dead: it leaves the queue and waits for a
/// person. One without a maximum is tried for ever.
pub async fn record_failure(
    executor: impl PgExecutor<'_>,
    key: JobKey,
    error: &str,
    attempts_max: Option<u16>,
    now: DateTime<Utc>,
) -> Result<Option<(JobState, i32)>, DbError> {
    let row = sqlx::query!(
        r#"
        update jobs
        set attempts = least(attempts, 1000000) + 1,
            last_error = left($3, 2000),
            changed_at = $5,
            state = case when attempts + 1 >= $4 then 'dead' else state end
        where kind = $1 and subject_id = $2
        returning state as "state: JobState", attempts
        "#,
        key.kind.as_str(),
        key.subject_id,
        error,
        attempts_max.map(i32::from),
        now
    )
    .fetch_optional(executor)
    .await
    .map_err(DbError::during("count a failed turn of a job"))?;
    Ok(row.map(|row| (row.state, row.attempts)))
}

/// Forgets the failed turns of a pending job after one that went well; writes nothing if there were
/// none.
pub async fn record_progress(
    executor: impl PgExecutor<'_>,
    key: JobKey,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        update jobs
        set attempts = 0, last_error = null, changed_at = $3
        where kind = $1 and subject_id = $2 and state = 'pending' and attempts > 0
        "#,
        key.kind.as_str(),
        key.subject_id,
        now
    )
    .execute(executor)
    .await
    .map_err(DbError::during("forget the failed turns of a job"))?;
    Ok(())
}

/// Lets a dead job, or one that waits long after failures, be tried anew. Tells whether there is
/// such a job; wake it in the queue then.
pub async fn retry(
    executor: impl PgExecutor<'_>,
    key: JobKey,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let result = sqlx::query!(
        r#"
        update jobs
        set state = 'pending', attempts = 0, changed_at = $3
        where kind = $1 and subject_id = $2
        "#,
        key.kind.as_str(),
        key.subject_id,
        now
    )
    .execute(executor)
    .await
    .map_err(DbError::during("retry a job"))?;
    Ok(result.rows_affected() == 1)
}

/// Ends a job whose goal is reached. Tells whether there was one.
pub async fn finish(executor: impl PgExecutor<'_>, key: JobKey) -> Result<bool, DbError> {
    let result = sqlx::query!(
        r#"
        delete from jobs
        where kind = $1 and subject_id = $2
        "#,
        key.kind.as_str(),
        key.subject_id
    )
    .execute(executor)
    .await
    .map_err(DbError::during("finish a job"))?;
    Ok(result.rows_affected() == 1)
}

/// Ends a job whose goal is reached, unless somebody has asked for it anew since `request_id` did: then
/// the goal may be another one. Tells whether it was ended.
pub async fn finish_as_asked(
    executor: impl PgExecutor<'_>,
    key: JobKey,
    request_id: RequestId,
) -> Result<bool, DbError> {
    let result = sqlx::query!(
        r#"
        delete from jobs
        where kind = $1 and subject_id = $2 and request_id = $3
        "#,
        key.kind.as_str(),
        key.subject_id,
        request_id.as_uuid(),
    )
    .execute(executor)
    .await
    .map_err(DbError::during("finish a job"))?;
    Ok(result.rows_affected() == 1)
}
