//! Steps of the resource machine, with what is stored along.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Move, Recorded};
use crate::db::DbError;
use crate::db::jobs::{self, JobKey};
use crate::domain::{JobKind, OperationKind, OperationState, ResourceState};
use crate::ids::ResourceId;

/// What is stored along with a step.
#[derive(Debug, Clone, Default)]
pub struct Along {
    /// The operation that waited for it.
    pub finish: Option<Finish>,
    /// The job that follows from it.
    pub job: Option<JobKind>,
    /// Moment PostgreSQL started, if it was seen; null keeps what is known.
    pub postgres_started_at: Option<DateTime<Utc>>,
}

/// An operation that ends with a step.
#[derive(Debug, Clone)]
pub struct Finish {
    /// Which one.
    pub kind: OperationKind,
    /// How it ended.
    pub state: OperationState,
    /// Why it failed.
    pub error: Option<String>,
}

/// Records a step of the resource machine, and what is stored along.
///
/// Entering `deprovisioning` forgets which generation covered the resource, so that a new one must
/// cover its removal. The caller owns the transaction: the statements hold together.
pub async fn move_resource(
    conn: &mut PgConnection,
    id: ResourceId,
    step: &Move<ResourceState>,
    along: &Along,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update resources
        set
            state = $4,
            state_since = case when state = $4 then state_since else $5 end,
            deadline_at = case when state = $4 then deadline_at else $6 end,
            problem = $7,
            postgres_started_at = coalesce($8, postgres_started_at),
            instructed_generation = case
                when $4 = 'deprovisioning' then null else instructed_generation
            end,
            version = version + 1
        where id = $1 and version = $2 and state = $3
        "#,
        id.as_uuid(),
        step.version,
        step.from.as_str(),
        step.to.as_str(),
        step.at,
        step.deadline_at,
        step.problem,
        along.postgres_started_at,
    )
    .execute(&mut *conn)
    .await
    .map_err(DbError::during("record a step of a resource"))?;
    if done.rows_affected() != 1 {
        return Ok(Recorded::Overtaken);
    }
    insert_transition(conn, id, step).await?;
    if let Some(finish) = &along.finish {
        finish_operation(conn, id, finish, step.at).await?;
    }
    if let Some(kind) = along.job {
        let key = JobKey {
            kind,
            subject_id: id.as_uuid(),
        };
        jobs::ask(conn, key, step.request_id, step.at).await?;
    }
    Ok(Recorded::Yes)
}

async fn insert_transition(
    conn: &mut PgConnection,
    id: ResourceId,
    step: &Move<ResourceState>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        insert into transitions (
            machine, subject_id, resource_id, from_state, event, to_state, why, detail,
            request_id, at
        )
        values ('resource', $1, $1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        id.as_uuid(),
        step.from.as_str(),
        step.event,
        step.to.as_str(),
        step.why,
        step.detail,
        step.request_id.as_uuid(),
        step.at,
    )
    .execute(conn)
    .await
    .map_err(DbError::during("record a step of a resource"))?;
    Ok(())
}

async fn finish_operation(
    conn: &mut PgConnection,
    id: ResourceId,
    finish: &Finish,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        update operations
        set state = $3, error = $4, finished_at = $5
        where resource_id = $1 and kind = $2 and state = 'pending'
        "#,
        id.as_uuid(),
        finish.kind.as_str(),
        finish.state.as_str(),
        finish.error,
        at,
    )
    .execute(conn)
    .await
    .map_err(DbError::during("finish an operation"))?;
    Ok(())
}
