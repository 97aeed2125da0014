//! Rows of restores: what instances are born from, and how that goes.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};

use super::stored;
use crate::agent_api::restore::RestoreSource;
use crate::db::{DbError, fleet::Recorded};
use crate::ids::{ParticipantId, RequestId, RestoreId};
use crate::units::Lsn;

/// A restore that is planned.
#[derive(Debug, Clone)]
pub struct NewRestore<'a> {
    /// Id it shall get.
    pub id: RestoreId,
    /// What the agent will be told.
    pub source: &'a RestoreSource,
    /// Size of a WAL segment of the cluster, in bytes.
    pub segment_bytes: u32,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Stores a restore; from now on nothing that it needs is deleted from the archive.
///
/// Overtaken if its backup or some of its WAL is not kept any more: then another one is to be planned. The caller owns
/// the transaction, and rolls it back then.
pub async fn hold_restore(
    conn: &mut PgConnection,
    new: &NewRestore<'_>,
) -> Result<Recorded, DbError> {
    let path = &new.source.path;
    let timelines: Vec<_> = path.iter().map(|leg| leg.timeline.as_uuid()).collect();
    let numbers = path.iter().map(|leg| i32::try_from(leg.run.epoch));
    let numbers: Vec<_> = numbers.map(|number| number.unwrap_or(i32::MAX)).collect();
    // Whoever marks something to be deleted takes the same lock: one of the two sees the other.
    sqlx::query!(
        "select id from timelines where id = any($1) order by id for update",
        &timelines,
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(DbError::during("lock the timelines of a restore"))?;
    let done = sqlx::query!(
        r#"
        insert into restores (
            id, timeline_id, backup_id, source, segment_bytes, moved_at, request_id, created_at
        )
        select $1, $2, backups.id, $4, $5, $7, $6, $7
        from backups
        join epochs
            on epochs.timeline_id = backups.timeline_id and epochs.number = backups.epoch_number
        where
            backups.id = $3
            and backups.state = 'finished'
            and coalesce(epochs.kept_from_lsn, epochs.start_lsn) <= backups.start_lsn
            -- Of the legs behind that of the backup all is needed.
            and not exists (
                select
                from unnest($8::uuid[], $9::integer[])
                    with ordinality as legs (timeline_id, number, place)
                join unnest($8::uuid[], $9::integer[])
                    with ordinality as own (timeline_id, number, place)
                    on own.timeline_id = backups.timeline_id
                    and own.number = backups.epoch_number
                    and own.place < legs.place
                join epochs as later
                    on later.timeline_id = legs.timeline_id and later.number = legs.number
                where later.kept_from_lsn > later.start_lsn
            )
        "#,
        new.id.as_uuid(),
        new.source.timeline.as_uuid(),
        new.source.backup.as_uuid(),
        Json(new.source) as _,
        i32::try_from(new.segment_bytes).unwrap_or(i32::MAX),
        new.request_id.as_uuid(),
        new.now,
        &timelines,
        &numbers,
    )
    .execute(conn)
    .await
    .map_err(DbError::during("store a restore"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreProgress {
    /// Bytes of files that are in place.
    pub bytes_done: u64,
    /// Bytes of all files; 0 before that is known.
    pub bytes_total: u64,
    /// WAL is replayed about up to here; null before that began.
    pub replay: Option<Lsn>,
}

/// Moments after which somebody is told who waits for a restore that does not come forward.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For its participant.
    pub participant: DateTime<Utc>,
    /// For its resource.
    pub resource: DateTime<Utc>,
}

/// Stores how far the restore of `participant` is, and what forbids it to be finished. If it came
/// forward, it has `patience` again.
pub async fn note_restore_progress(
    ex: impl PgExecutor<'_>,
    participant: ParticipantId,
    (progress, problem): (RestoreProgress, Option<&str>),
    patience: Patience,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    sqlx::query!(
        r#"
        with moved as (
            update restores
            set
                bytes_done = $2,
                bytes_total = $3,
                replay_lsn = $4,
                problem = $5,
                moved_at = $6
            from participants
            where
                participants.id = $1
                and participants.restore_id = restores.id
                and (restores.bytes_done, restores.bytes_total, restores.replay_lsn, restores.problem)
                    is distinct from ($2::bigint, $3::bigint, $4::bigint, $5::text)
            returning participants.id
        ),
        has_time as (
            update participants
            set deadline_at = $7
            from moved
            where
                participants.id = moved.id and participants.state = 'creating' and $5::text is null
        )
        update resources
        set deadline_at = greatest(resources.deadline_at, $8)
        from moved
        where
            (
                resources.participant_id = moved.id
                or resources.id = (select resource_id from forks where donor_id = moved.id)
            )
            and resources.state = 'creating'
            and $5::text is null
        "#,
        participant.as_uuid(),
        bytes(progress.bytes_done),
        bytes(progress.bytes_total),
        progress.replay.map(stored),
        problem,
        now,
        patience.participant,
        patience.resource,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note how far a restore is"))?;
    Ok(())
}

/// Lets go of what restores needed that nobody waits for any more: what was born from them is gone,
/// or has what it needs.
///
/// A follower needs nothing once it serves; a database of its own once it has a sound
/// backup of its own: one with damaged pages is no reason to lose that of the original.
pub async fn release_restores(ex: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        update restores
        set released_at = $1
        where
            released_at is null
            and not exists (
                select
                from forks
                join resources on resources.id = forks.resource_id
                where forks.restore_id = restores.id and resources.state = 'creating'
            )
            and not exists (
                select
                from participants
                where
                    participants.restore_id = restores.id
                    and (
                        participants.state in ('planned', 'creating')
                        or (
                            participants.state <> 'removed'
                            and not has_sound_backup(participants.timeline_id)
                        )
                    )
            )
        "#,
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("let go of what restores needed"))?;
    Ok(done.rows_affected())
}
