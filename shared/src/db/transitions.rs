//! Transitions: every step of every state machine, with its reason. Rows are only ever added.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Uuid;

use crate::db::{DbError, Limit, Page};
use crate::domain::MachineKind;
use crate::ids::{RequestId, ResourceId};

/// A step to record, in the transaction of the write that makes it.
#[derive(Debug, Clone, Copy)]
pub struct NewTransition<'a> {
    /// Which machine.
    pub machine: MachineKind,
    /// Id of the row that changed.
    pub subject_id: Uuid,
    /// Resource it belongs to; none for what many resources share.
    pub resource_id: Option<ResourceId>,
    /// State before.
    pub from: &'a str,
    /// What was seen or asked for.
    pub event: &'a str,
    /// State after.
    pub to: &'a str,
    /// The reason in the table of the machine.
    pub why: &'a str,
    /// What was special this time.
    pub detail: Option<&'a str>,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Moment of recording.
    pub at: DateTime<Utc>,
}

/// A recorded step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Order of recording.
    pub id: i64,
    /// Which machine.
    pub machine: MachineKind,
    /// Id of the row that changed.
    pub subject_id: Uuid,
    /// State before.
    pub from: String,
    /// What was seen or asked for.
    pub event: String,
    /// State after.
    pub to: String,
    /// The reason in the table of the machine.
    pub why: String,
    /// What was special this time.
    pub detail: Option<String>,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Moment of recording.
    pub at: DateTime<Utc>,
}

/// Records a step.
pub async fn insert(executor: impl PgExecutor<'_>, new: &NewTransition<'_>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        insert into transitions (
            machine, subject_id, resource_id, from_state, event, to_state, why, detail,
            request_id, at
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        new.machine.as_str(),
        new.subject_id,
        new.resource_id.map(ResourceId::as_uuid),
        new.from,
        new.event,
        new.to,
        new.why,
        new.detail,
        new.request_id.as_uuid(),
        new.at
    )
    .execute(executor)
    .await
    .map_err(DbError::during("record a transition"))?;
    Ok(())
}

/// The story of a resource, in the order it happened, those after `after`: its own steps, and since it
/// exists those of the participant and the server it is on, which it may share with others.
pub async fn list_of_resource(
    executor: impl PgExecutor<'_>,
    resource_id: ResourceId,
    after: Option<i64>,
    limit: Limit,
) -> Result<Page<Transition, i64>, DbError> {
    let rows = sqlx::query_as!(
        Transition,
        r#"
        with own as (
            select *
            from transitions
            where resource_id = $1 and ($2::bigint is null or id > $2)
            order by id
            limit $3
        ),
        place as (
            select unnest(array[p.id, p.server_id]) as subject_id, r.created_at
            from resources r
            join participants p on p.id = r.participant_id
            where r.id = $1
        ),
        under_it as (
            select t.*
            from place
            cross join lateral (
                select *
                from transitions
                where subject_id = place.subject_id
                    and at >= place.created_at
                    and ($2::bigint is null or id > $2)
                order by id
                limit $3
            ) as t
        )
        select id as "id!", machine as "machine!: MachineKind", subject_id as "subject_id!",
            from_state as "from!", event as "event!", to_state as "to!", why as "why!", detail,
            request_id as "request_id!", at as "at!"
        from (select * from own union select * from under_it) as story
        order by id
        limit $3
        "#,
        resource_id.as_uuid(),
        after,
        limit.and_one()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the transitions of a resource"))?;
    Ok(Page::of(rows, limit, |row| row.id))
}

/// The steps of one subject, in the order they happened, those after `after`.
pub async fn list_of_subject(
    executor: impl PgExecutor<'_>,
    subject_id: Uuid,
    after: Option<i64>,
    limit: Limit,
) -> Result<Page<Transition, i64>, DbError> {
    let rows = sqlx::query_as!(
        Transition,
        r#"
        select id, machine as "machine: MachineKind", subject_id, from_state as "from", event,
            to_state as "to", why, detail, request_id, at
        from transitions
        where subject_id = $1 and ($2::bigint is null or id > $2)
        order by id
        limit $3
        "#,
        subject_id,
        after,
        limit.and_one()
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("list the transitions of a subject"))?;
    Ok(Page::of(rows, limit, |row| row.id))
}
