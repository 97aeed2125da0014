//! Instances that nobody sees: restored for a purpose, on a server of their own, and removed.

use sqlx::PgConnection;

use super::NewPlacement;
use crate::db::DbError;
use crate::db::archive::NewRestore;
use crate::domain::ParticipantRole;

/// An instance that is restored for a purpose of ours.
#[derive(Debug, Clone, Copy)]
pub(in crate::db) struct Hidden<'a> {
    /// What it is for: no role that anybody looks for who pushes, backs up or places.
    pub(in crate::db) role: ParticipantRole,
    /// Plan of its server.
    pub(in crate::db) plan: &'a str,
    /// What is restored.
    pub(in crate::db) restore: &'a NewRestore<'a>,
    /// The server and the instance.
    pub(in crate::db) place: &'a NewPlacement,
}

/// Makes its rows. The caller owns the transaction, and holds the restore in it.
///
/// Its timeline begins at the one that is restored. Nothing of it is ever archived, so there is nothing
/// of it to be deleted either.
pub(in crate::db) async fn place_hidden(
    conn: &mut PgConnection,
    hidden: &Hidden<'_>,
) -> Result<(), DbError> {
    let (new, restore) = (hidden.place, hidden.restore);
    let source = restore.source;
    let parent = source
        .path
        .last()
        .map_or(source.timeline, |leg| leg.timeline);
    sqlx::query!(
        r#"
        with timeline as (
            insert into timelines (id, parent_id, created_at, archive_deleted_at)
            values ($3, $14, $7, $7)
        ),
        server as (
            insert into servers (
                id, provider, plan, state, state_since, deadline_at, request_id, created_at
            )
            values ($1, $4, $5, 'requested', $7, $8, $6, $7)
        )
        insert into participants (
            id, timeline_id, server_id, role, state, state_since, deadline_at, postgres_major,
            prober_password, prober_verifier, request_id, created_at, restore_id
        )
        values ($2, $3, $1, $13, 'planned', $7, $8, $9, $10, $11, $6, $7, $12)
        "#,
        new.server.as_uuid(),
        new.participant.as_uuid(),
        new.timeline.as_uuid(),
        new.provider,
        hidden.plan,
        new.request_id.as_uuid(),
        new.at,
        new.deadline_at,
        i32::from(source.postgres_major),
        new.prober_password,
        new.prober_verifier,
        restore.id.as_uuid(),
        hidden.role.as_str(),
        parent.as_uuid(),
    )
    .execute(conn)
    .await
    .map_err(DbError::during("place an instance that nobody sees"))?;
    Ok(())
}
