//! Physical replication slots: each holds the WAL that somebody still needs.

use sqlx::PgConnection;

/// Slots of these names, and whether they hold no WAL: they have lost it, or PostgreSQL ended
/// between making the slot and reserving WAL for it, which leaves one without a status.
const SLOTS: &str = "
    select slot_name::text, coalesce(wal_status = 'lost', true)
    from pg_replication_slots
    where slot_name = any($1)";

/// Makes the slots that are not there, with WAL reserved at once, and makes those anew that have
/// lost their WAL, because they never hold any again. Gives how many.
pub(crate) async fn ensure(connection: &mut PgConnection, names: &[String]) -> sqlx::Result<usize> {
    if names.is_empty() {
        return Ok(0);
    }
    let found: Vec<(String, bool)> = sqlx::query_as(SLOTS)
        .bind(names)
        .fetch_all(&mut *connection)
        .await?;
    let mut made = 0;
    for name in names {
        let slot = found.iter().find(|(found, _)| found == name);
        match slot {
            Some((_, false)) => continue,
            Some((_, true)) => {
                tracing::error!(slot = name, "a slot has lost its WAL and is made anew");
                sqlx::query("select pg_drop_replication_slot($1)")
                    .bind(name)
                    .execute(&mut *connection)
                    .await?;
            }
            None => tracing::info!(slot = name, "a slot is made"),
        }
        sqlx::query("select pg_create_physical_replication_slot($1, true)")
            .bind(name)
            .execute(&mut *connection)
            .await?;
        made += 1;
    }
    Ok(made)
}
