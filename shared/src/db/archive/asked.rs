//! Asking for pushes: a job for every timeline with a live leader.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Uuid;

use crate::db::DbError;
use crate::ids::{ParticipantId, TimelineId};

/// Asks for the WAL of a participant to be pushed, if it is a leader that serves. Gives its
/// timeline if that is new.
pub async fn ask_to_push(
    ex: impl PgExecutor<'_>,
    participant: ParticipantId,
    now: DateTime<Utc>,
) -> Result<Option<TimelineId>, DbError> {
    sqlx::query_scalar!(
        r#"
        insert into jobs (kind, subject_id, request_id, created_at, changed_at)
        select 'wal_push', timeline_id, request_id, $2, $2
        from participants
        where
            id = $1
            and role = 'leader'
            and state = 'serving'
            and destroy_requested_at is null
        on conflict (kind, subject_id) do nothing
        returning subject_id as "timeline: TimelineId"
        "#,
        participant.as_uuid(),
        now,
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("ask for the WAL of a leader to be pushed"))
}

/// Asks for every timeline whose leader lives and that nobody asked for, at most 1,000; gives them.
pub async fn ask_for_pushes(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, DbError> {
    sqlx::query_scalar!(
        r#"
        insert into jobs (kind, subject_id, request_id, created_at, changed_at)
        select 'wal_push', timeline_id, request_id, $1, $1
        from participants
        where
            role = 'leader'
            and state in ('serving', 'down')
            and destroy_requested_at is null
            and not exists (
                select
                from jobs
                where jobs.kind = 'wal_push' and jobs.subject_id = participants.timeline_id
            )
        order by timeline_id
        limit 1000
        on conflict (kind, subject_id) do nothing
        returning subject_id
        "#,
        now,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during(
        "ask for the WAL of every leader to be pushed",
    ))
}
