//! Names of a parent that become those of the instance that was restored from it.

use std::collections::BTreeSet;

use shared::agent_api::restore::{NewName, Rename};
use sqlx::PgConnection;

use super::run;
use crate::quote::identifier;

/// Those of some names that databases have, but for those whose drop was begun: nothing of them can be
/// read any more.
const DATABASES: &str =
    "select datname::text from pg_database where datname = any($1) and datconnlimit <> -2";

/// Those of some names that roles have.
const ROLES: &str = "select rolname::text from pg_roles where rolname = any($1)";

/// The first database of `renames` that is under neither of its names; none if all are there.
///
/// # Errors
/// Those of PostgreSQL.
pub(crate) async fn lost_name(
    connection: &mut PgConnection,
    renames: &[Rename],
) -> sqlx::Result<Option<String>> {
    let databases = renames.iter().map(|each| &each.database);
    for NewName { from, to } in databases {
        let there: Vec<String> = sqlx::query_scalar(DATABASES)
            .bind([from, to].map(String::as_str))
            .fetch_all(&mut *connection)
            .await?;
        if there.is_empty() {
            return Ok(Some(from.clone()));
        }
    }
    Ok(None)
}

/// Gives databases and roles their new names; what belongs to them stays theirs. Passes over what
/// was done before. Nobody else may be connected to the databases. Gives the number of commands.
///
/// # Errors
/// Those of PostgreSQL; and if a database is there under neither name: an empty one would be made
/// instead, and taken for the copy.
pub(crate) async fn rename(
    connection: &mut PgConnection,
    renames: &[Rename],
) -> sqlx::Result<usize> {
    let mut commands = Vec::new();
    let databases: Vec<&NewName> = renames.iter().map(|each| &each.database).collect();
    let roles: Vec<&NewName> = renames.iter().map(|each| &each.role).collect();
    for (kind, query, names) in [("database", DATABASES, databases), ("role", ROLES, roles)] {
        let all: Vec<&str> = names
            .iter()
            .flat_map(|name| [name.from.as_str(), name.to.as_str()])
            .collect();
        let there: Vec<String> = sqlx::query_scalar(query)
            .bind(all)
            .fetch_all(&mut *connection)
            .await?;
        let there = there.into_iter().collect();
        if let Some(lost) = names
            .iter()
            .find(|name| kind == "database" && is_lost(name, &there))
        {
            let NewName { from, to } = lost;
            let text = format!("there is no database {from}, which should become {to}");
            return Err(sqlx::Error::Protocol(text));
        }
        let due = names.into_iter().filter(|name| is_due(name, &there));
        commands.extend(due.map(|name| {
            let (from, to) = (identifier(&name.from), identifier(&name.to));
            format!("alter {kind} {from} rename to {to}")
        }));
    }
    for command in &commands {
        tracing::info!(command, "a name of the parent is replaced");
        run(connection, command).await?;
    }
    Ok(commands.len())
}

fn is_lost(name: &NewName, there: &BTreeSet<String>) -> bool {
    !there.contains(&name.from) && !there.contains(&name.to)
}

fn is_due(name: &NewName, there: &BTreeSet<String>) -> bool {
    there.contains(&name.from) && !there.contains(&name.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_old_name_and_may_have_the_new_one_is_renamed() {
        let is_due = |from: &str, to: &str, there: &[&str]| {
            let there = there.iter().map(|name| (*name).to_owned()).collect();
            let (from, to) = (from.to_owned(), to.to_owned());
            is_due(&NewName { from, to }, &there)
        };
        assert!(is_due("shop", "fork", &["shop"]));
        assert!(!is_due("shop", "fork", &["fork"]));
        assert!(!is_due("shop", "fork", &["shop", "fork"]));
        assert!(!is_due("shop", "shop", &["shop"]));
        assert!(!is_due("shop", "fork", &[]));
    }
}
