//! The commands that make a catalog what a spec says.

use std::collections::BTreeMap;

use shared::agent_api::{DatabaseSpec, InstanceSpec, RoleSpec};

use crate::quote::{identifier, literal};
use crate::transfer::incoming_name;

/// What was found of the roles and databases that a spec names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    pub(crate) roles: BTreeMap<String, CurrentRole>,
    pub(crate) databases: BTreeMap<String, CurrentDatabase>,
}

/// A role that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentRole {
    pub(crate) verifier: Option<String>,
    pub(crate) superuser: bool,
    pub(crate) connection_limit: i32,
    pub(crate) bypasses_row_security: bool,
    /// It may log in, for ever, and has no other attribute.
    pub(crate) plain: bool,
}

/// A database that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentDatabase {
    pub(crate) owner: String,
    pub(crate) connection_limit: i32,
    pub(crate) allows_connections: bool,
    /// Everybody has some privilege on it.
    pub(crate) open_to_public: bool,
    /// Its owner made it a template, which cannot be dropped.
    pub(crate) is_template: bool,
}

impl CurrentDatabase {
    /// Whether its drop was begun and not finished: it can only be dropped again.
    fn is_half_dropped(&self) -> bool {
        self.connection_limit == -2
    }
}

/// Commands in order, each to be sent by itself. Several statements in one command are one
/// transaction.
pub(crate) fn plan(spec: &InstanceSpec, current: &Catalog) -> Vec<String> {
    let mut commands = Vec::new();
    for name in spec
        .absent
        .databases
        .iter()
        .flat_map(|name| names_of_absent(name))
    {
        if let Some(found) = current.databases.get(&name) {
            // By itself: a drop is in no transaction.
            if found.is_template {
                let name = identifier(&name);
                commands.push(format!("alter database {name} is_template false"));
            }
            commands.push(drop_database(&name));
        }
    }
    for name in &spec.absent.roles {
        if current.roles.contains_key(name) {
            let role = identifier(name);
            commands.push(format!("drop owned by {role}; drop role {role}"));
        }
    }
    let roles = spec
        .roles
        .iter()
        .filter_map(|role| settle_role(role, current.roles.get(&role.name)));
    let roles: Vec<String> = roles.collect();
    if !roles.is_empty() {
        commands.push(roles.join("; "));
    }
    for (name, database) in &current.databases {
        let is_system = name == "postgres" || name == "template1";
        if is_system && database.open_to_public {
            commands.push(close(name));
        }
    }
    for database in &spec.databases {
        settle_database(
            database,
            current.databases.get(&database.name),
            &mut commands,
        );
    }
    commands
}

/// What a database that shall not be there may be called: it may be on its way here.
pub(crate) fn names_of_absent(name: &str) -> [String; 2] {
    [name.to_owned(), incoming_name(name)]
}

/// Made, or set to exactly what the spec says; none if it is that already.
fn settle_role(role: &RoleSpec, current: Option<&CurrentRole>) -> Option<String> {
    let is_settled = current.is_some_and(|current| {
        current.verifier.as_deref() == Some(&role.verifier)
            && current.superuser == role.superuser
            && current.connection_limit == role.connection_limit
            && current.bypasses_row_security == role.bypasses_row_security
            && current.plain
    });
    if is_settled {
        return None;
    }
    let verb = if current.is_some() { "alter" } else { "create" };
    let superuser = if role.superuser {
        "superuser"
    } else {
        "nosuperuser"
    };
    let bypasses = if role.bypasses_row_security {
        "bypassrls"
    } else {
        "nobypassrls"
    };
    Some(format!(
        "{verb} role {} login inherit nocreaterole nocreatedb noreplication {bypasses} \
         {superuser} connection limit {} valid until 'infinity' password {}",
        identifier(&role.name),
        role.connection_limit,
        literal(&role.verifier)
    ))
}

/// A new database lets nobody in before it is closed to everybody but its owner.
fn settle_database(
    database: &DatabaseSpec,
    current: Option<&CurrentDatabase>,
    commands: &mut Vec<String>,
) {
    let name = identifier(&database.name);
    let owner = identifier(&database.owner);
    let limit = database.connection_limit;
    let half_dropped = current.is_some_and(CurrentDatabase::is_half_dropped);
    if half_dropped {
        commands.push(drop_database(&database.name));
    }
    let Some(current) = current.filter(|_| !half_dropped) else {
        commands.push(format!(
            "create database {name} owner {owner} connection limit {limit} allow_connections false"
        ));
        let close = close(&database.name);
        commands.push(format!(
            "{close}; alter database {name} allow_connections true"
        ));
        return;
    };
    let mut changes = Vec::new();
    if current.open_to_public {
        changes.push(close(&database.name));
    }
    if current.owner != database.owner {
        changes.push(format!("alter database {name} owner to {owner}"));
    }
    if current.connection_limit != limit {
        changes.push(format!("alter database {name} connection limit {limit}"));
    }
    if !current.allows_connections {
        changes.push(format!("alter database {name} allow_connections true"));
    }
    if !changes.is_empty() {
        commands.push(changes.join("; "));
    }
}

fn drop_database(name: &str) -> String {
    format!("drop database {} with (force)", identifier(name))
}

/// Takes everything from everybody: only the owner (and superusers) may connect then.
fn close(name: &str) -> String {
    format!("revoke all on database {} from public", identifier(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_check::tests::{database, role, spec};

    fn there(role: &RoleSpec) -> CurrentRole {
        CurrentRole {
            verifier: Some(role.verifier.clone()),
            superuser: role.superuser,
            connection_limit: role.connection_limit,
            bypasses_row_security: role.bypasses_row_security,
            plain: true,
        }
    }

    fn open(owner: &str) -> CurrentDatabase {
        CurrentDatabase {
            owner: owner.to_owned(),
            connection_limit: 20,
            allows_connections: true,
            open_to_public: false,
            is_template: false,
        }
    }

    fn settled() -> Catalog {
        let roles = spec()
            .roles
            .iter()
            .map(|role| (role.name.clone(), there(role)))
            .collect();
        let names = [("shop", "shop"), ("postgres", "postgres")];
        let databases = names
            .map(|(name, owner)| (name.to_owned(), open(owner)))
            .into();
        Catalog { roles, databases }
    }

    #[test]
    fn nothing_is_done_when_nothing_is_missing() {
        assert!(plan(&spec(), &settled()).is_empty());
    }

    #[test]
    fn a_new_database_is_closed_before_anybody_can_connect() {
        let mut current = settled();
        current.databases.remove("shop");
        assert_eq!(
            plan(&spec(), &current),
            [
                "create database \"shop\" owner \"shop\" connection limit 20 \
                 allow_connections false",
                "revoke all on database \"shop\" from public; \
                 alter database \"shop\" allow_connections true",
            ]
        );
    }

    #[test]
    fn what_an_interrupted_command_left_is_finished() {
        let mut current = settled();
        let shop = CurrentDatabase {
            allows_connections: false,
            open_to_public: true,
            ..open("shop")
        };
        current.databases.insert("shop".to_owned(), shop.clone());
        assert_eq!(
            plan(&spec(), &current),
            ["revoke all on database \"shop\" from public; \
              alter database \"shop\" allow_connections true"]
        );
        let half_dropped = CurrentDatabase {
            connection_limit: -2,
            ..shop
        };
        current.databases.insert("shop".to_owned(), half_dropped);
        let commands = plan(&spec(), &current);
        assert_eq!(commands[0], "drop database \"shop\" with (force)");
        assert!(commands[1].starts_with("create database \"shop\""));
    }

    #[test]
    fn what_differs_is_set() {
        let mut current = settled();
        let changed = spec();
        current.roles.get_mut("shop").unwrap().plain = false;
        current.roles.get_mut("other").unwrap().connection_limit = 7;
        current.databases.get_mut("shop").unwrap().owner = "other".to_owned();
        current
            .databases
            .get_mut("postgres")
            .unwrap()
            .open_to_public = true;
        let commands = plan(&changed, &current);
        assert_eq!(commands.len(), 3, "{commands:#?}");
        assert_eq!(commands[0].matches("alter role").count(), 2);
        assert_eq!(
            commands[1],
            "revoke all on database \"postgres\" from public"
        );
        assert_eq!(commands[2], "alter database \"shop\" owner to \"shop\"");
    }

    #[test]
    fn only_what_is_named_absent_is_dropped_and_only_if_it_is_there() {
        let mut changed = spec();
        changed.databases.clear();
        changed.roles.clear();
        changed.absent.databases = vec!["shop".to_owned(), "gone".to_owned()];
        changed.absent.roles = vec!["shop".to_owned(), "gone".to_owned()];
        assert_eq!(
            plan(&changed, &settled()),
            [
                "drop database \"shop\" with (force)",
                "drop owned by \"shop\"; drop role \"shop\"",
            ]
        );
        changed.absent.databases.clear();
        changed.absent.roles.clear();
        assert!(plan(&changed, &settled()).is_empty());
    }

    #[test]
    fn what_its_owner_made_a_template_is_dropped_too() {
        let mut changed = spec();
        changed.databases.clear();
        changed.absent.databases = vec!["shop".to_owned()];
        let mut current = settled();
        current.databases.get_mut("shop").unwrap().is_template = true;
        assert_eq!(
            plan(&changed, &current),
            [
                "alter database \"shop\" is_template false",
                "drop database \"shop\" with (force)",
            ]
        );
    }

    #[test]
    fn what_is_absent_is_dropped_also_while_it_is_brought() {
        let mut changed = spec();
        changed.databases.clear();
        changed.roles.clear();
        changed.absent.databases = vec!["shop".to_owned()];
        let mut current = settled();
        let incoming = current.databases.remove("shop").unwrap();
        current.databases.insert("shop~new".to_owned(), incoming);
        assert_eq!(
            plan(&changed, &current),
            ["drop database \"shop~new\" with (force)"]
        );
    }

    #[test]
    fn names_and_verifiers_are_quoted() {
        let mut changed = spec();
        changed.roles = vec![role("we\"ird")];
        changed.roles[0].verifier = "SCRAM'".to_owned();
        changed.databases = vec![database("we\"ird", "we\"ird")];
        let commands = plan(&changed, &Catalog::default());
        assert!(
            commands[0].starts_with("create role \"we\"\"ird\" login"),
            "{}",
            commands[0]
        );
        assert!(
            commands[0].ends_with("password 'SCRAM'''"),
            "{}",
            commands[0]
        );
        assert!(commands[1].starts_with("create database \"we\"\"ird\" owner \"we\"\"ird\" "));
    }
}
