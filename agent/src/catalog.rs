//! Roles, databases and slots: what is there, what shall be, and the commands between the two.
//!
//! One look at the catalogs first; only what is missing is done, so that a shared server with
//! hundreds of databases costs two queries when nothing changed. Killed between any two commands,
//! the next look finds the rest.

use std::collections::BTreeMap;

use sqlx::{Executor as _, PgConnection};

mod plan;
mod renames;
pub(crate) mod slots;
mod streaming;

use plan::names_of_absent;
pub(crate) use plan::{Catalog, CurrentDatabase, CurrentRole, plan};
pub(crate) use renames::{lost_name, rename};

use shared::agent_api::InstanceSpec;

use crate::quote::identifier;
use crate::render::BOOTSTRAP_ROLE;

/// Keeps verifiers out of PostgreSQL's log, and makes what is reported here durable.
const PREPARE: &str = "
    set log_statement = 'none';
    set log_min_error_statement = 'panic';
    set log_min_duration_statement = -1;
    set synchronous_commit = 'local';
    set lock_timeout = '30s'";

/// Roles that the spec names, with what a spec can say of them.
const ROLES: &str = "
    select rolname::text,
        rolpassword,
        rolsuper,
        rolconnlimit,
        rolbypassrls,
        rolcanlogin
            and rolinherit
            and not rolcreaterole
            and not rolcreatedb
            and not rolreplication
            and coalesce(rolvaliduntil = 'infinity', true)
    from pg_authid
    where rolname = any($1)";

/// Roles that may log in and that the spec does not name.
const STRANGERS: &str = "
    select rolname::text
    from pg_roles
    where (rolcanlogin or rolsuper) and rolname <> all($1) and rolname <> $2
    order by rolname";

/// Databases that the spec names, and those of PostgreSQL that everybody could connect to. A
/// database whose drop was interrupted has a connection limit of -2.
const DATABASES: &str = "
    select datname::text,
        pg_get_userbyid(datdba)::text,
        datconnlimit,
        datallowconn,
        exists (
            select from aclexplode(coalesce(datacl, acldefault('d', datdba)))
            where grantee = 0
        ),
        datistemplate
    from pg_database
    where datname = any($1) or datname in ('postgres', 'template1')";

/// Makes roles, databases and slots what `spec` says. Gives the number of commands that took.
pub(crate) async fn reconcile(
    connection: &mut PgConnection,
    spec: &InstanceSpec,
) -> sqlx::Result<usize> {
    connection.execute(PREPARE).await?;
    let current = look(connection, spec).await?;
    let commands = plan(spec, &current);
    for command in &commands {
        run(connection, command).await?;
    }
    let streaming = streaming::settle(connection, &spec.streamers).await?;
    let slots = slots::ensure(connection, &spec.slots).await?;
    Ok(commands.len() + streaming + slots)
}

/// Takes the login from all roles that `spec` does not name, but for the one of local
/// administration: of a restored cluster, whose roles are those of another database. Gives the number
/// of roles.
pub(crate) async fn lock_out(
    connection: &mut PgConnection,
    spec: &InstanceSpec,
) -> sqlx::Result<usize> {
    connection.execute(PREPARE).await?;
    let named: Vec<&str> = spec.roles.iter().map(|role| role.name.as_str()).collect();
    let strangers: Vec<String> = sqlx::query_scalar(STRANGERS)
        .bind(named)
        .bind(BOOTSTRAP_ROLE)
        .fetch_all(&mut *connection)
        .await?;
    for stranger in &strangers {
        let stranger = identifier(stranger);
        let command =
            format!("alter role {stranger} nologin nosuperuser noreplication password null");
        run(connection, &command).await?;
    }
    Ok(strangers.len())
}

async fn look(connection: &mut PgConnection, spec: &InstanceSpec) -> sqlx::Result<Catalog> {
    let roles: Vec<&str> = spec.roles.iter().map(|role| role.name.as_str()).collect();
    let absent: Vec<&str> = spec.absent.roles.iter().map(String::as_str).collect();
    let rows: Vec<(String, Option<String>, bool, i32, bool, bool)> = sqlx::query_as(ROLES)
        .bind([roles, absent].concat())
        .fetch_all(&mut *connection)
        .await?;
    let roles = rows.into_iter().map(
        |(name, verifier, superuser, connection_limit, bypasses, plain)| {
            let role = CurrentRole {
                verifier,
                superuser,
                connection_limit,
                bypasses_row_security: bypasses,
                plain,
            };
            (name, role)
        },
    );
    let roles: BTreeMap<_, _> = roles.collect();
    let databases: Vec<String> = spec
        .databases
        .iter()
        .map(|each| each.name.clone())
        .collect();
    let absent = spec.absent.databases.iter();
    let absent: Vec<String> = absent.flat_map(|name| names_of_absent(name)).collect();
    let rows: Vec<(String, String, i32, bool, bool, bool)> = sqlx::query_as(DATABASES)
        .bind([databases, absent].concat())
        .fetch_all(&mut *connection)
        .await?;
    let databases = rows
        .into_iter()
        .map(|(name, owner, limit, allowed, public, is_template)| {
            let database = CurrentDatabase {
                owner,
                connection_limit: limit,
                allows_connections: allowed,
                open_to_public: public,
                is_template,
            };
            (name, database)
        });
    let databases = databases.collect();
    Ok(Catalog { roles, databases })
}

/// Commands that define things take no parameters. This is the one place that sends text made at
/// run time: every name and text in it was quoted by [`crate::quote`].
async fn run(connection: &mut PgConnection, command: &str) -> sqlx::Result<()> {
    let command = sqlx::AssertSqlSafe(command.to_owned());
    sqlx::raw_sql(command).execute(connection).await.map(drop)
}
