//! Backups that are marked to be deleted, and the way back.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::archive::retention::KEEP_MARKED;
use crate::db::{DbError, fleet::Recorded};
use crate::ids::BackupId;

/// Begins to delete a backup that was marked long enough ago: from now on there is no way back.
pub async fn begin_deletion(
    ex: impl PgExecutor<'_>,
    backup: BackupId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update backups
        set deletion_began_at = $2
        where
            id = $1
            and state = 'expiring'
            and deletion_began_at is null
            and expiring_at <= $3
        "#,
        backup.as_uuid(),
        now,
        now - KEEP_MARKED,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("begin to delete a backup"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Takes the mark of a backup back that is of a moment after `now`: the clock had jumped. Nothing of
/// it may be deleted yet.
pub async fn unmark(
    ex: impl PgExecutor<'_>,
    backup: BackupId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update backups
        set state = 'finished', expiring_at = null
        where
            id = $1
            and state = 'expiring'
            and deletion_began_at is null
            and expiring_at > $2
            and start_lsn is not null
        "#,
        backup.as_uuid(),
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("take the mark of a backup back"))?;
    Ok(Recorded::of(done.rows_affected()))
}
