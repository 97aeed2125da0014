//! Rows of transfers: copies whose database is taken out of an instance that is restored hidden.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::hidden::{Hidden, place_hidden};
use super::{NewPlacement, Recorded};
use crate::db::DbError;
use crate::db::archive::{NewRestore, hold_restore};
use crate::domain::{ParticipantRole, ParticipantState};
use crate::ids::{ParticipantId, ResourceId, RestoreId, ServerId};
use crate::ports::Address;

/// What a copy waits for whose database is to be brought over.
#[derive(Debug, Clone)]
pub struct TransferRow {
    /// The restore that the database is taken out of.
    pub restore: RestoreId,
    /// The instance that gives it.
    pub donor: Donor,
    /// The database, at both ends.
    pub database: String,
    /// Its owner, at both ends.
    pub role: String,
    /// Password of the owner, encrypted for the copy.
    pub password: Vec<u8>,
    /// Number of the newest instruction of the participant that gets it.
    pub generation: u64,
}

/// An instance that gives a database.
#[derive(Debug, Clone)]
pub struct Donor {
    /// Its server.
    pub server: ServerId,
    /// Address of its PostgreSQL; null before that is known.
    pub postgres: Option<Address>,
    /// Where it is in its life.
    pub state: ParticipantState,
    /// Whether it shall go.
    pub is_going: bool,
}

/// Begins a transfer: its restore is held, and the instance that gives the database is there to be
/// made, on a server of the original's plan.
///
/// The caller owns the transaction, and rolls it back if it was overtaken.
pub async fn begin_transfer(
    conn: &mut PgConnection,
    (copy, plan): (ResourceId, &str),
    restore: &NewRestore<'_>,
    place: &NewPlacement,
) -> Result<Recorded, DbError> {
    if hold_restore(conn, restore).await?.is_overtaken() {
        return Ok(Recorded::Overtaken);
    }
    let role = ParticipantRole::Donor;
    let hidden = Hidden {
        role,
        plan,
        restore,
        place,
    };
    place_hidden(conn, &hidden).await?;
    let done = sqlx::query!(
        r#"
        update forks
        set restore_id = $2, donor_id = $3
        from resources
        where
            forks.resource_id = $1
            and resources.id = $1
            and resources.state = 'creating'
            and forks.by_transfer
            and forks.restore_id is null
            and forks.problem is null
        "#,
        copy.as_uuid(),
        restore.id.as_uuid(),
        place.participant.as_uuid(),
    )
    .execute(conn)
    .await
    .map_err(DbError::during("begin a transfer"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// The transfer that copy `id` waits for; null if it waits for none.
pub async fn load_transfer(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<TransferRow>, DbError> {
    let row = sqlx::query!(
        r#"
        select
            forks.restore_id as "restore!: RestoreId",
            donors.server_id as "server: ServerId",
            donors.state as "state: ParticipantState",
            donors.destroy_requested_at is not null as "is_going!",
            servers.host,
            servers.postgres_port,
            resources.database_name,
            resources.role_name,
            resources.password as "password!",
            homes.generation
        from forks
        join resources on resources.id = forks.resource_id
        join participants as donors on donors.id = forks.donor_id
        join servers on servers.id = donors.server_id
        join participants as homes on homes.id = resources.participant_id
        where
            forks.resource_id = $1
            and forks.transferred_at is null
            and forks.problem is null
            and resources.state = 'creating'
            and resources.password is not null
        "#,
        id.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("load a transfer"))?;
    Ok(row.map(|row| {
        let port = row.postgres_port.and_then(|port| u16::try_from(port).ok());
        let postgres = row.host.zip(port);
        TransferRow {
            restore: row.restore,
            donor: Donor {
                server: row.server,
                postgres: postgres.map(|(host, port)| Address { host, port }),
                state: row.state,
                is_going: row.is_going,
            },
            database: row.database_name,
            role: row.role_name,
            password: row.password,
            generation: row.generation.unsigned_abs(),
        }
    }))
}

/// Stores how far the transfer for copy `id` is: bytes that were brought over, and of all. If it came
/// forward, the copy has until `patience` again before somebody is told.
pub async fn note_transfer_progress(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    (done, total): (u64, u64),
    patience: DateTime<Utc>,
) -> Result<(), DbError> {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    sqlx::query!(
        r#"
        with moved as (
            update forks
            set transferred_bytes = $2, transfer_bytes = $3
            where
                resource_id = $1
                and (transferred_bytes, transfer_bytes) is distinct from ($2::bigint, $3::bigint)
            returning resource_id
        )
        update resources
        set deadline_at = greatest(deadline_at, $4)
        from moved
        where resources.id = moved.resource_id and resources.state = 'creating'
        "#,
        id.as_uuid(),
        bytes(done),
        bytes(total),
        patience,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note how far a transfer is"))?;
    Ok(())
}

/// Notes that the database of copy `id` is whole at `participant`, which is to be told to open it; its
/// donor shall go.
///
/// Overtaken if the copy was placed elsewhere meanwhile, where there is nothing of it.
pub async fn note_transferred(
    ex: impl PgExecutor<'_>,
    (id, participant): (ResourceId, ParticipantId),
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        -- First of all the row that says where the copy is: who places it anew writes that one, too.
        with told_anew as (
            update resources
            set instructed_generation = null, version = version + 1
            where id = $1 and state = 'creating' and participant_id = $3
            returning id
        ),
        transferred as (
            update forks
            set transferred_at = $2, transferred_bytes = greatest(transferred_bytes, transfer_bytes)
            from told_anew
            where
                forks.resource_id = told_anew.id
                and forks.transferred_at is null
                and forks.problem is null
            returning forks.resource_id, forks.donor_id
        ),
        donor as (
            update participants
            set destroy_requested_at = $2, version = version + 1
            from transferred
            where
                participants.id = transferred.donor_id
                and participants.destroy_requested_at is null
        )
        select count(*) as "count!" from transferred
        "#,
        id.as_uuid(),
        now,
        participant.as_uuid(),
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("note that a transfer is done"))?;
    Ok(Recorded::of(done.count.unsigned_abs()))
}

/// Notes why the database of copy `id` will not be brought over.
pub async fn fail_transfer(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    problem: &str,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update forks
        set problem = left($2, 2000)
        where resource_id = $1 and transferred_at is null and problem is null
        "#,
        id.as_uuid(),
        problem,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note why a transfer failed"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Asks for the end of donors whose copy is not made any more. Gives their servers.
pub async fn dismiss_donors(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<ServerId>, DbError> {
    sqlx::query_scalar!(
        r#"
        update participants
        set destroy_requested_at = $1, version = participants.version + 1
        from forks
        join resources on resources.id = forks.resource_id
        where
            participants.id = forks.donor_id
            and participants.destroy_requested_at is null
            and participants.state not in ('removing', 'removed')
            and (resources.state <> 'creating' or forks.transferred_at is not null)
        returning participants.server_id as "server_id: ServerId"
        "#,
        now,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("ask for the end of donors"))
}
