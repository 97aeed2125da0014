//! What a dump of a database leaves out, and its owner misses: settings, and a schema that was dropped.

use serde::Deserialize;
use sqlx::PgConnection;

use crate::quote::identifier;

/// What there is to know of a database before it is dumped, as JSON: for `psql`, in a session of its
/// owner.
pub(super) const QUESTION: &str = "
    select pg_catalog.json_build_object(
        'bytes', pg_catalog.pg_database_size(pg_catalog.current_database()),
        'has_public', pg_catalog.to_regnamespace('public') is not null,
        'settings', coalesce(
            (
                select pg_catalog.json_agg(
                    pg_catalog.json_build_object(
                        'of_database', setdatabase <> 0,
                        'of_role', setrole <> 0,
                        'values', setconfig
                    )
                )
                from pg_catalog.pg_db_role_setting
                where
                    setdatabase in (
                        0,
                        (
                            select oid from pg_catalog.pg_database
                            where datname = pg_catalog.current_database()
                        )
                    )
                    and setrole in (
                        0,
                        (
                            select oid from pg_catalog.pg_roles
                            where rolname = current_user
                        )
                    )
            ),
            '[]'
        )
    )";

/// The answer.
#[derive(Debug, Deserialize)]
pub(super) struct Contents {
    /// Size of the database in bytes.
    pub(super) bytes: u64,
    /// Whether it has the schema that every new database has.
    pub(super) has_public: bool,
    settings: Vec<Setting>,
}

/// Values that somebody has set for the sessions of the owner, of the database, or of both.
#[derive(Debug, Deserialize)]
struct Setting {
    of_database: bool,
    of_role: bool,
    /// As `name=value`.
    values: Vec<String>,
}

impl Setting {
    /// The commands that set something for the same sessions here, but for the setting's name; none
    /// if that is for sessions of others, too.
    fn command(&self, database: &str, role: &str) -> Option<String> {
        let (database, role) = (identifier(database), identifier(role));
        match (self.of_database, self.of_role) {
            (true, true) => Some(format!("alter role {role} in database {database}")),
            (true, false) => Some(format!("alter database {database}")),
            (false, true) => Some(format!("alter role {role}")),
            (false, false) => None,
        }
    }
}

impl Contents {
    /// Brings settings to `database` and its owner. PostgreSQL quotes the values itself: each is set in
    /// this session, and taken from there. One that PostgreSQL refuses here is logged and left out:
    /// this version does not know it any more.
    pub(super) async fn bring_settings(
        &self,
        connection: &mut PgConnection,
        (database, role): (&str, &str),
    ) -> sqlx::Result<()> {
        for setting in &self.settings {
            let Some(command) = setting.command(database, role) else {
                continue;
            };
            for (name, value) in setting
                .values
                .iter()
                .filter_map(|each| each.split_once('='))
            {
                let keep = format!("{command} set {} from current", identifier(name));
                match take(connection, (name, value), keep).await {
                    Ok(()) => {}
                    Err(sqlx::Error::Database(error)) => {
                        tracing::warn!(name, %error, "a setting was not brought over");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// In a transaction, so that nothing of it holds in this session later.
async fn take(
    connection: &mut PgConnection,
    (name, value): (&str, &str),
    keep: String,
) -> sqlx::Result<()> {
    let mut transaction = sqlx::Connection::begin(connection).await?;
    let _: Option<String> = sqlx::query_scalar("select pg_catalog.set_config($1, $2, true)")
        .bind(name)
        .bind(value)
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(keep))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
