//! The intent to have it proven now that a resource can be restored.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::db::DbError;
use crate::db::idempotency::{self, Key, Replay};
use crate::db::operations::{self, Operation};
use crate::ids::{OperationId, ProofId, RequestId, ResourceId, TimelineId, TokenId};

/// How often a request is looked for again that was there and then had ended.
const TRIES: u32 = 3;

/// What somebody asks for.
#[derive(Debug, Clone, Copy)]
pub struct NewRestoreCheck<'a> {
    /// Resource that shall be proven.
    pub resource: ResourceId,
    /// Id of the operation to follow, if none is under way.
    pub operation: OperationId,
    /// Id of the proof, if none is under way.
    pub proof: ProofId,
    /// Token that asked.
    pub token_id: TokenId,
    /// Key that makes a second identical request give the first answer; none to do without.
    pub key: Option<Key<'a>>,
    /// Request that asked.
    pub request_id: RequestId,
    /// Moment of the request.
    pub now: DateTime<Utc>,
}

/// A proof that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreCheckAsked {
    /// The operation to follow.
    pub operation: Operation,
    /// The timeline to be proven; null if the request was answered before.
    pub timeline: Option<TimelineId>,
}

/// Why nobody was asked.
#[derive(Debug, thiserror::Error)]
pub enum RestoreCheckError {
    /// There is no backup of it to begin from: it is new, or on its way out, or there is no archive.
    #[error("there is no backup of the resource")]
    NoBackup,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The control database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Asks for a proof of what a resource is on. While one is under way, for whatever reason, it is the
/// one that is asked for.
///
/// # Errors
/// [`RestoreCheckError`]; nothing was written then.
pub async fn request_restore_check(
    pool: &PgPool,
    new: &NewRestoreCheck<'_>,
) -> Result<RestoreCheckAsked, RestoreCheckError> {
    for _ in 0..TRIES {
        match idempotency::replay(pool, new.token_id, new.key).await? {
            Replay::New => {}
            Replay::Answered(operation) => {
                return Ok(RestoreCheckAsked {
                    operation,
                    timeline: None,
                });
            }
            Replay::OtherRequest => return Err(RestoreCheckError::KeyReused),
        }
        let asked = match insert(pool, new).await {
            Ok(asked) => asked,
            // A twin with the same key was quicker: it has committed.
            Err(error) if error.constraint() == Some(idempotency::ONE_USE_OF_A_KEY) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(timeline) = asked.timeline else {
            return Err(RestoreCheckError::NoBackup);
        };
        let Some(id) = asked.operation else { continue };
        let found = operations::get(pool, id).await?;
        if let Some(operation) = found {
            return Ok(RestoreCheckAsked {
                operation,
                timeline: Some(timeline),
            });
        }
    }
    let action = "ask for a proof";
    Err(DbError::Stale { action }.into())
}

struct Asked {
    timeline: Option<TimelineId>,
    /// The one to follow; null if it has ended meanwhile.
    operation: Option<OperationId>,
    is_new: bool,
}

async fn insert(pool: &PgPool, new: &NewRestoreCheck<'_>) -> Result<Asked, DbError> {
    let failed = DbError::during("ask for a proof");
    let mut transaction = pool.begin().await.map_err(failed)?;
    let asked = join(&mut transaction, new).await?;
    if let Some(operation) = asked.operation {
        note(&mut transaction, new, (operation, asked.is_new)).await?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(asked)
}

/// Sees to it that a proof is under way, and that somebody waits for it.
async fn join(conn: &mut PgConnection, new: &NewRestoreCheck<'_>) -> Result<Asked, DbError> {
    sqlx::query_as!(
        Asked,
        r#"
        with placed as (
            select resources.id, participants.timeline_id
            from resources
            join participants on participants.id = resources.participant_id
            where
                resources.id = $1
                and resources.destroy_requested_at is null
                and exists (
                    select
                    from backups
                    where
                        backups.timeline_id in (select history_of(participants.timeline_id))
                        and backups.state = 'finished'
                )
        ),
        -- One that is under way is locked: whoever ends it sees this request, or comes before it,
        -- and then this is a new one.
        the_proof as (
            insert into proofs (id, timeline_id, reason, request_id, asked_at, moved_at)
            select $3, timeline_id, 'request', $4, $5, $5
            from placed
            on conflict (timeline_id) where state in ('wanted', 'restoring', 'checking')
            do update set request_id = proofs.request_id
            returning timeline_id
        ),
        new_job as (
            insert into jobs (kind, subject_id, request_id, created_at, changed_at)
            select 'verify', timeline_id, $4, $5, $5
            from the_proof
            on conflict (kind, subject_id) do nothing
        ),
        -- One that waits already is the answer.
        new_operation as (
            insert into operations (id, resource_id, kind, state, request_id, created_at)
            select $2, placed.id, 'restore_check', 'pending', $4, $5
            from placed
            join the_proof on the_proof.timeline_id = placed.timeline_id
            on conflict (resource_id, kind) where state = 'pending' do nothing
            returning id
        ),
        the_operation as (
            select id from new_operation
            union all
            select id
            from operations
            where resource_id = $1 and kind = 'restore_check' and state = 'pending'
        )
        select
            (select timeline_id from placed) as "timeline: TimelineId",
            (select id from the_operation limit 1) as "operation: OperationId",
            exists (select from new_operation) as "is_new!"
        "#,
        new.resource.as_uuid(),
        new.operation.as_uuid(),
        new.proof.as_uuid(),
        new.request_id.as_uuid(),
        new.now,
    )
    .fetch_one(conn)
    .await
    .map_err(DbError::during("ask for a proof"))
}

/// Notes who asked. A key that was used fails the whole transaction.
async fn note(
    conn: &mut PgConnection,
    new: &NewRestoreCheck<'_>,
    (operation, is_new): (OperationId, bool),
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        with used_key as (
            insert into idempotency_keys (token_id, key, request_hash, operation_id, created_at)
            select $2, $3, $4, $5, $7
            where $3::text is not null
        )
        insert into audit (token_id, action, subject, request_id, at)
        select $2, 'restore_check', 'resource ' || name, $6, $7
        from resources
        where id = $1 and $8
        "#,
        new.resource.as_uuid(),
        new.token_id.as_uuid(),
        new.key.map(|key| key.key),
        new.key.map(|key| key.request_hash.to_vec()),
        operation.as_uuid(),
        new.request_id.as_uuid(),
        new.now,
        is_new,
    )
    .execute(conn)
    .await
    .map_err(DbError::during("ask for a proof"))?;
    Ok(())
}
