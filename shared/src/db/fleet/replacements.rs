//! Rows of participants that take the place of a follower that cannot go on.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::followers::lock_follower;
use super::placement::{Birth, NewPlacement, create};
use super::{FollowerRow, Recorded};
use crate::db::DbError;
use crate::ids::{ParticipantId, ResourceId, RestoreId};

/// Makes the participant, with its server, that shall take the place of a follower. It is restored
/// from `restore`, and no resource is attached to it yet.
///
/// Overtaken if there is one already, or none is needed any more. The caller owns the transaction,
/// and rolls it back then.
pub async fn place_replacement(
    conn: &mut PgConnection,
    row: &FollowerRow,
    new: &NewPlacement,
    restore: RestoreId,
) -> Result<Recorded, DbError> {
    if lock_follower(conn, row).await? != Some((None, None)) {
        return Ok(Recorded::Overtaken);
    }
    let birth = Birth {
        restore,
        parent: row.timeline,
        follows: true,
    };
    create(&mut *conn, &row.plan, new, Some(&birth)).await?;
    let done = sqlx::query!(
        "update forks set replacement_id = $2 where resource_id = $1",
        row.resource.as_uuid(),
        new.participant.as_uuid(),
    )
    .execute(conn)
    .await
    .map_err(DbError::during("replace a follower"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Ties a follower to its replacement, which serves. What was seen of the other one is forgotten; that
/// one answers on until customers get to the new one.
///
/// Overtaken if it is not the replacement any more, or does not serve. The caller owns the
/// transaction, and rolls it back then.
pub async fn swap_follower(
    conn: &mut PgConnection,
    row: &FollowerRow,
    replacement: ParticipantId,
) -> Result<Recorded, DbError> {
    if lock_follower(conn, row).await? != Some((Some(replacement), None)) {
        return Ok(Recorded::Overtaken);
    }
    let done = sqlx::query!(
        r#"
        with swapped as (
            update resources
            set
                participant_id = $2,
                instructed_generation = null,
                version = resources.version + 1
            from participants
            where resources.id = $1 and participants.id = $2 and participants.state = 'serving'
            returning resources.id, participants.restore_id
        ),
        unseen as (
            delete from observations
            using swapped
            where observations.resource_id = swapped.id
        ),
        noted as (
            update forks
            set
                restore_id = swapped.restore_id,
                replacement_id = null,
                replaced_id = $3,
                behind_lsn = null,
                behind_since = null,
                replayed_lsn = null,
                replayed_since = null
            from swapped
            where forks.resource_id = swapped.id
        )
        select count(*) as "count!" from swapped
        "#,
        row.resource.as_uuid(),
        replacement.as_uuid(),
        row.participant.as_uuid(),
    )
    .fetch_one(conn)
    .await
    .map_err(DbError::during("replace a follower"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}

/// Asks for the end of `participant`, which was replaced, or shall not replace another one any more.
pub async fn let_go_of_replaced(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    participant: ParticipantId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        with noted as (
            update forks
            set
                replacement_id = nullif(replacement_id, $2),
                replaced_id = nullif(replaced_id, $2)
            where resource_id = $1 and $2 in (replacement_id, replaced_id)
            returning 1
        )
        update participants
        set destroy_requested_at = $3, version = version + 1
        where id = $2 and destroy_requested_at is null and exists (select from noted)
        "#,
        id.as_uuid(),
        participant.as_uuid(),
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("let go of a participant"))?;
    Ok(())
}

/// Participants that have to do with replacing resource `id`, which is on its way out or follows no
/// more.
pub async fn orphans_of(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Vec<ParticipantId>, DbError> {
    sqlx::query_scalar!(
        r#"
        select participants.id as "id: ParticipantId"
        from forks
        join resources on resources.id = forks.resource_id
        join participants on participants.id in (forks.replacement_id, forks.replaced_id)
        where
            forks.resource_id = $1
            and (
                forks.unfollowed_at is not null
                or resources.destroy_requested_at is not null
                or resources.state in ('deprovisioning', 'deprovisioned')
            )
        "#,
        id.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list what has no follower any more"))
}

/// Resources of which a participant is being replaced, at most 1,000.
pub async fn being_replaced(ex: impl PgExecutor<'_>) -> Result<Vec<ResourceId>, DbError> {
    sqlx::query_scalar!(
        r#"
        select resource_id as "resource: ResourceId"
        from forks
        where replacement_id is not null or replaced_id is not null
        order by resource_id
        limit 1000
        "#,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list who is being replaced"))
}
