//! The intent to have a backup made now, and the backups of a resource for people.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use super::lsn;
use crate::db::idempotency::{self, Key, Replay};
use crate::db::operations::{self, Operation};
use crate::db::{DbError, Limit, Page};
use crate::domain::{BackupReason, BackupState, OperationKind};
use crate::ids::{BackupId, OperationId, RequestId, ResourceId, TimelineId, TokenId};
use crate::units::Lsn;

/// How often a request is looked for again that was there and then had ended.
const TRIES: u32 = 3;

/// What somebody asks for.
#[derive(Debug, Clone, Copy)]
pub struct NewCapture<'a> {
    /// Resource that shall be backed up.
    pub resource: ResourceId,
    /// Id of the operation to follow, if none is under way.
    pub operation: OperationId,
    /// Token that asked.
    pub token_id: TokenId,
    /// Key that makes a second identical request give the first answer; none to do without.
    pub key: Option<Key<'a>>,
    /// Request that asked.
    pub request_id: RequestId,
    /// Moment of the request.
    pub now: DateTime<Utc>,
}

/// A backup that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The operation to follow.
    pub operation: Operation,
    /// The timeline to be backed up; null if the request was answered before.
    pub timeline: Option<TimelineId>,
}

/// Why nobody was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Nothing of the resource is in the archive: it is not placed, or on its way out, or its first
    /// WAL is still to come, or there is no archive.
    #[error("nothing of the resource is in the archive")]
    NotProtected,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The control database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Asks for a backup of what a resource is on. While one that was asked for is under way, it is the
/// answer; a backup that is under way for another reason counts as the one that is asked for.
///
/// # Errors
/// [`CaptureError`]; nothing was written then.
pub async fn request_capture(
    pool: &PgPool,
    new: &NewCapture<'_>,
) -> Result<Captured, CaptureError> {
    for _ in 0..TRIES {
        match idempotency::replay(pool, new.token_id, new.key).await? {
            Replay::New => {}
            Replay::Answered(operation) => {
                return Ok(Captured {
                    operation,
                    timeline: None,
                });
            }
            Replay::OtherRequest => return Err(CaptureError::KeyReused),
        }
        let asked = match insert(pool, new).await {
            Ok(asked) => asked,
            // A twin with the same key was quicker: it has committed.
            Err(error) if error.constraint() == Some(idempotency::ONE_USE_OF_A_KEY) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(timeline) = asked.timeline else {
            return Err(CaptureError::NotProtected);
        };
        let found = if asked.is_new {
            operations::get(pool, new.operation).await?
        } else {
            operations::find_pending(pool, new.resource, OperationKind::Capture).await?
        };
        if let Some(operation) = found {
            return Ok(Captured {
                operation,
                timeline: Some(timeline),
            });
        }
    }
    let action = "ask for a backup";
    Err(DbError::Stale { action }.into())
}

struct Asked {
    timeline: Option<TimelineId>,
    is_new: bool,
}

async fn insert(ex: impl PgExecutor<'_>, new: &NewCapture<'_>) -> Result<Asked, DbError> {
    sqlx::query_as!(
        Asked,
        r#"
        with placed as (
            select resources.id, resources.name, participants.timeline_id
            from resources
            join participants
                on participants.id = resources.participant_id and participants.role = 'leader'
            join epochs on epochs.timeline_id = participants.timeline_id and epochs.number = 1
            where resources.id = $1 and resources.destroy_requested_at is null
        ),
        -- One that waits already is the answer.
        new_operation as (
            insert into operations (id, resource_id, kind, state, request_id, created_at)
            select $2, id, 'capture', 'pending', $6, $7
            from placed
            on conflict (resource_id, kind) where state = 'pending' do nothing
            returning id
        ),
        the_operation as (
            select id from new_operation
            union all
            select id
            from operations
            where resource_id = $1 and kind = 'capture' and state = 'pending'
        ),
        -- One that is under way is the backup that is asked for.
        new_job as (
            insert into jobs (kind, subject_id, request_id, created_at, changed_at)
            select 'base_backup', timeline_id, $6, $7, $7
            from placed
            where exists (select from new_operation)
            on conflict (kind, subject_id) do nothing
        ),
        -- A key that was used fails the whole statement.
        used_key as (
            insert into idempotency_keys (token_id, key, request_hash, operation_id, created_at)
            select $3, $4, $5, id, $7
            from the_operation
            where $4::text is not null and exists (select from placed)
            limit 1
        ),
        audited as (
            insert into audit (token_id, action, subject, request_id, at)
            select $3, 'capture', 'resource ' || name, $6, $7
            from placed
            where exists (select from new_operation)
        )
        select
            (select timeline_id from placed) as "timeline: TimelineId",
            exists (select from new_operation) as "is_new!"
        "#,
        new.resource.as_uuid(),
        new.operation.as_uuid(),
        new.token_id.as_uuid(),
        new.key.map(|key| key.key),
        new.key.map(|key| key.request_hash.to_vec()),
        new.request_id.as_uuid(),
        new.now,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("ask for a backup"))
}

/// A backup, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The backup.
    pub id: BackupId,
    /// Under way or finished: one that was given up, or is being deleted, is not shown.
    pub state: BackupState,
    /// Why it was begun.
    pub reason: BackupReason,
    /// Whether its server has databases of other resources, which are in it too.
    pub is_shared: bool,
    /// Whether it is taken from a follower, and not from the leader of its epoch.
    pub is_of_follower: bool,
    /// Replay begins here; null while it runs.
    pub start_lsn: Option<Lsn>,
    /// It is consistent from here on; null while it runs.
    pub stop_lsn: Option<Lsn>,
    /// First moment that can be restored from it, by the clock of the leader; null while it runs.
    pub stopped_at: Option<DateTime<Utc>>,
    /// Bytes of files that are in the archive.
    pub bytes_done: i64,
    /// Bytes of all files; 0 before they are listed.
    pub bytes_total: i64,
    /// Bytes of the objects; null while it runs.
    pub stored_bytes: Option<i64>,
    /// Pages whose checksum was wrong; null while it runs.
    pub damaged_pages: Option<i64>,
    /// Moment it was begun.
    pub started_at: DateTime<Utc>,
    /// Moment it was known to be complete; null while it runs.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Backups that a resource is in, newest first, those older than `before`.
pub async fn backups_of(
    ex: impl PgExecutor<'_>,
    resource: ResourceId,
    before: Option<BackupId>,
    limit: Limit,
) -> Result<Page<Backup, BackupId>, DbError> {
    let rows = sqlx::query!(
        r#"
        select
            backups.id as "id: BackupId",
            backups.state as "state: BackupState",
            backups.reason as "reason: BackupReason",
            not plans.dedicated as "is_shared!",
            backups.participant_id <> epochs.participant_id as "is_of_follower!",
            backups.start_lsn,
            backups.stop_lsn,
            backups.stopped_at,
            backups.bytes_done,
            backups.bytes_total,
            backups.stored_bytes,
            backups.damaged_pages,
            backups.started_at,
            backups.finished_at
        from resources
        join participants on participants.id = resources.participant_id
        join servers on servers.id = participants.server_id
        join plans on plans.name = servers.plan
        join backups on backups.timeline_id = participants.timeline_id
        join epochs
            on epochs.timeline_id = backups.timeline_id and epochs.number = backups.epoch_number
        where
            resources.id = $1
            and backups.state in ('running', 'finished')
            and ($2::uuid is null or backups.id < $2)
        order by backups.id desc
        limit $3
        "#,
        resource.as_uuid(),
        before.map(BackupId::as_uuid),
        limit.and_one(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the backups of a resource"))?;
    let backups = rows
        .into_iter()
        .map(|row| Backup {
            id: row.id,
            state: row.state,
            reason: row.reason,
            is_shared: row.is_shared,
            is_of_follower: row.is_of_follower,
            start_lsn: row.start_lsn.map(lsn),
            stop_lsn: row.stop_lsn.map(lsn),
            stopped_at: row.stopped_at,
            bytes_done: row.bytes_done,
            bytes_total: row.bytes_total,
            stored_bytes: row.stored_bytes,
            damaged_pages: row.damaged_pages,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
        .collect();
    Ok(Page::of(backups, limit, |backup| backup.id))
}
