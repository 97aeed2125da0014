//! What the database of a transfer is called, before and after.

use anyhow::Context as _;
use shared::agent_api::transfer::TransferOrder;
use sqlx::PgConnection;

use crate::quote::identifier;
use crate::store::{Store, Transferred};

/// Databases that were brought here are remembered in this number: each transfer is asked about for
/// seconds after its end.
const REMEMBERED_MAX: usize = 100;

/// Those of some databases that are there.
const DATABASES: &str = "select datname::text, oid from pg_database where datname = any($1)";

/// Ends whatever is connected to a database.
const END_SESSIONS: &str = "
    select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where datname = $1";

/// What a database is called before all of it is there: no name that a customer's database has.
pub(crate) fn incoming_name(database: &str) -> String {
    format!("{database}~new")
}

/// Where the database of an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing of it is there that could be used.
    Absent,
    /// Another database has its name: somebody's.
    Another,
    /// All of it is there, under its name.
    Whole,
}

/// Finds out where the database stands, and ends what an agent before has begun and remembered.
///
/// # Errors
/// Those of PostgreSQL, and of the disk.
pub(super) async fn standing(
    connection: &mut PgConnection,
    order: &TransferOrder,
    store: &Store,
) -> anyhow::Result<Standing> {
    let incoming = incoming_name(&order.database);
    let found = databases(connection, &[&order.database, &incoming]).await?;
    let oid_of = |name: &str| found.iter().find(|(found, _)| found == name);
    let state = store.get();
    let known = state.transferred.iter();
    let known = known.rev().find(|each| each.restore == order.restore);
    let is_known = |found: Option<&(String, sqlx::postgres::types::Oid)>| {
        known.is_some_and(|known| found.is_some_and(|(_, oid)| oid.0 == known.oid))
    };
    let whole = oid_of(&order.database);
    if is_known(whole) {
        return Ok(Standing::Whole);
    }
    if whole.is_some() {
        return Ok(Standing::Another);
    }
    if is_known(oid_of(&incoming)) {
        give_name(connection, order).await?;
        return Ok(Standing::Whole);
    }
    Ok(Standing::Absent)
}

/// Makes the database under the name of one on its way, empty and open to its owner only. What an
/// attempt before has left is dropped.
pub(super) async fn make_empty(
    connection: &mut PgConnection,
    order: &TransferOrder,
) -> sqlx::Result<()> {
    let name = identifier(&incoming_name(&order.database));
    let owner = identifier(&order.role);
    let commands = [
        format!("drop database if exists {name} with (force)"),
        format!("create database {name} owner {owner} allow_connections false"),
        format!(
            "revoke all on database {name} from public; alter database {name} allow_connections true"
        ),
    ];
    for command in commands {
        run(connection, command).await?;
    }
    Ok(())
}

/// Remembers that the database is whole, and gives it its name.
pub(super) async fn finish(
    connection: &mut PgConnection,
    order: &TransferOrder,
    store: &Store,
) -> anyhow::Result<()> {
    let incoming = incoming_name(&order.database);
    let found = databases(connection, &[&incoming]).await?;
    let (_, oid) = found
        .first()
        .context("the database that was filled is gone")?;
    // What was restored is on the disk before it is called whole: this waits for all of it.
    let name = identifier(&incoming);
    run(connection, "set synchronous_commit = local".to_owned()).await?;
    run(
        connection,
        format!("alter database {name} connection limit -1"),
    )
    .await?;
    let transferred = Transferred {
        restore: order.restore,
        oid: oid.0,
    };
    let remember = |state: &mut crate::store::State| {
        state
            .transferred
            .retain(|each| each.restore != order.restore);
        let surplus = (state.transferred.len() + 1).saturating_sub(REMEMBERED_MAX);
        state.transferred.drain(..surplus);
        state.transferred.push(transferred);
    };
    store.set(remember).await.context("remember the transfer")?;
    give_name(connection, order).await?;
    Ok(())
}

/// Durable when it returns, with everything that was written before.
async fn give_name(connection: &mut PgConnection, order: &TransferOrder) -> sqlx::Result<()> {
    let incoming = incoming_name(&order.database);
    let _: i64 = sqlx::query_scalar(END_SESSIONS)
        .bind(&incoming)
        .fetch_one(&mut *connection)
        .await?;
    let (incoming, name) = (identifier(&incoming), identifier(&order.database));
    run(connection, "set synchronous_commit = local".to_owned()).await?;
    run(
        connection,
        format!("alter database {incoming} rename to {name}"),
    )
    .await
}

async fn databases(
    connection: &mut PgConnection,
    names: &[&str],
) -> sqlx::Result<Vec<(String, sqlx::postgres::types::Oid)>> {
    sqlx::query_as(DATABASES)
        .bind(names)
        .fetch_all(connection)
        .await
}

/// Commands that define things take no parameters: every name in them was quoted.
async fn run(connection: &mut PgConnection, command: String) -> sqlx::Result<()> {
    let command = sqlx::AssertSqlSafe(command);
    sqlx::raw_sql(command).execute(connection).await.map(drop)
}
