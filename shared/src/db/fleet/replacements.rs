//! Rows of participants that take the place of a follower that cannot go on.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

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
    let failed = DbError::during("replace a follower");
    let plan = sqlx::query_scalar!(
        "select plan from resources where id = $1",
        row.resource.as_uuid()
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(failed)?;
    let birth = Birth {
        restore,
        parent: row.timeline,
        follows: true,
    };
    create(&mut *conn, &plan, new, Some(&birth)).await?;
    let done = sqlx::query!(
        r#"
        update forks
        set replacement_id = $2
        from resources
        where
            forks.resource_id = $1
            and forks.replacement_id is null
            and forks.unfollowed_at is null
            and resources.id = forks.resource_id
            and resources.participant_id = $3
            and resources.destroy_requested_at is null
        "#,
        row.resource.as_uuid(),
        new.participant.as_uuid(),
        row.participant.as_uuid(),
    )
    .execute(conn)
    .await
    .map_err(failed)?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Ties a follower to its replacement, which serves, and asks for the end of the participant that it
/// replaces.
pub async fn swap_follower(
    ex: impl PgExecutor<'_>,
    row: &FollowerRow,
    replacement: ParticipantId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        with swapped as (
            update resources
            set participant_id = $3, instructed_generation = null, version = resources.version + 1
            from participants
            where
                resources.id = $1
                and resources.participant_id = $2
                and resources.destroy_requested_at is null
                and participants.id = $3
                and participants.state = 'serving'
            returning resources.id, participants.restore_id
        ),
        noted as (
            update forks
            set restore_id = swapped.restore_id, replacement_id = null
            from swapped
            where forks.resource_id = swapped.id and forks.replacement_id = $3
        ),
        ended as (
            update participants
            set destroy_requested_at = $4, version = participants.version + 1
            from swapped
            where participants.id = $2 and participants.destroy_requested_at is null
        )
        select count(*) as "count!" from swapped
        "#,
        row.resource.as_uuid(),
        row.participant.as_uuid(),
        replacement.as_uuid(),
        now,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("replace a follower"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}

/// Asks for the end of a replacement that is not needed: of a follower that is on its way out, or
/// one that will never serve. Another one can be made then.
pub async fn abandon_replacement(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        with abandoned as (
            select forks.resource_id, forks.replacement_id
            from forks
            where forks.resource_id = $1 and forks.replacement_id is not null
        ),
        noted as (
            update forks
            set replacement_id = null
            from abandoned
            where forks.resource_id = abandoned.resource_id
        )
        update participants
        set destroy_requested_at = $2, version = participants.version + 1
        from abandoned
        where participants.id = abandoned.replacement_id and participants.destroy_requested_at is null
        "#,
        id.as_uuid(),
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("abandon a replacement"))?;
    Ok(())
}
