//! What a spec must be, before it is accepted: an accepted one can be carried out, and nothing in
//! it can leave its place in a file or a command.

use std::collections::BTreeSet;
use std::net::IpAddr;

use shared::agent_api::restore::{NewName, RestoreSource, Target};
use shared::agent_api::{HbaRule, InstanceRole, InstanceSpec, PROBER_ROLE, REPLICATION_ROLE};

use crate::render::{BOOTSTRAP_ROLE, OWN_SETTINGS};

/// Longest identifier of PostgreSQL, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// How far beyond the last leg a promotion may take its `tli`: PostgreSQL asks for each in between.
const TLI_SKIPPED_MAX: u32 = 1000;

/// Databases that belong to PostgreSQL.
const SYSTEM_DATABASES: &[&str] = &["postgres", "template0", "template1"];

/// Finds the first thing that is wrong with a spec: `field: what`.
pub(crate) fn check_spec(spec: &InstanceSpec) -> Result<(), String> {
    if spec.generation == 0 {
        return Err("generation: must be 1 or more".to_owned());
    }
    if spec.incarnation == 0 {
        return Err("incarnation: must be 1 or more".to_owned());
    }
    if spec.port < 1024 {
        return Err("port: must be 1024 or more, as PostgreSQL is never root".to_owned());
    }
    for address in &spec.listen_addresses {
        if address != "*" && address.parse::<IpAddr>().is_err() {
            return Err(format!(
                "listen_addresses: {address:?} is neither an IP address nor *"
            ));
        }
    }
    check_birth(spec)?;
    check_following(spec)?;
    check_settings(spec)?;
    spec.hba.iter().try_for_each(check_rule)?;
    check_roles(spec)?;
    check_databases(spec)?;
    check_absent(spec)?;
    check_slots(spec)
}

fn check_birth(spec: &InstanceSpec) -> Result<(), String> {
    let Some(source) = spec.birth.restore() else {
        return Ok(());
    };
    let path = &source.path;
    let Some(last) = path.last() else {
        return Err("birth: the path has no leg".to_owned());
    };
    if path
        .iter()
        .any(|leg| leg.run.epoch == 0 || leg.run.tli == 0)
    {
        return Err("birth: epochs and tli of the path must be 1 or more".to_owned());
    }
    if !path.is_sorted_by_key(|leg| leg.end) {
        return Err("birth: a leg of the path ends before the one that it left".to_owned());
    }
    match source.target {
        Target::Lsn { lsn } if lsn > last.end => {
            return Err(format!(
                "birth: the target {lsn} lies behind the end of the path, {}",
                last.end
            ));
        }
        Target::End | Target::Lsn { .. } | Target::Time { .. } => {}
    }
    check_renames(spec, source)
}

fn check_following(spec: &InstanceSpec) -> Result<(), String> {
    let source = spec.birth.restore();
    let is_follower = spec.role == InstanceRole::Follower;
    if is_follower && source.is_none_or(|source| source.target != Target::End) {
        return Err("role: a follower is born by a restore to the end".to_owned());
    }
    if is_follower && !spec.streamers.is_empty() {
        return Err("streamers: nobody streams from a follower".to_owned());
    }
    if spec.streamers.iter().collect::<BTreeSet<_>>().len() < spec.streamers.len() {
        return Err("streamers: one is there twice".to_owned());
    }
    if spec.role == InstanceRole::Leader && spec.upstream.is_some() {
        return Err("upstream: a leader has none".to_owned());
    }
    if spec.upstream.is_some_and(|upstream| upstream.port == 0) {
        return Err("upstream: the port must be 1 or more".to_owned());
    }
    let Some(tli) = spec.promotion_tli else {
        return Ok(());
    };
    let last = source.and_then(|source| source.path.last());
    let beyond = last.and_then(|last| tli.checked_sub(last.run.tli));
    if beyond.is_some_and(|beyond| (1..=TLI_SKIPPED_MAX).contains(&beyond)) {
        return Ok(());
    }
    Err(format!(
        "promotion_tli: {tli} does not come after the last leg"
    ))
}

fn check_renames(spec: &InstanceSpec, source: &RestoreSource) -> Result<(), String> {
    // Nothing is renamed in what goes.
    if matches!(spec.role, InstanceRole::Stopped | InstanceRole::Removed) {
        return Ok(());
    }
    let (mut databases, mut roles) = (BTreeSet::new(), BTreeSet::new());
    for rename in &source.renames {
        let NewName { from, to } = &rename.database;
        let is_named = spec.databases.iter().any(|database| database.name == *to);
        let is_good = is_name(from) && !SYSTEM_DATABASES.contains(&from.as_str());
        check_rename(&rename.database, is_good && is_named, &mut databases)?;
        let NewName { from, to } = &rename.role;
        let is_named = spec.roles.iter().any(|role| role.name == *to);
        let is_ours = [from, to].into_iter().any(|name| is_own_role(name));
        let is_good = is_name(from) && !is_ours;
        check_rename(&rename.role, is_good && is_named, &mut roles)?;
    }
    Ok(())
}

/// Each name is named once, so that the order does not matter.
fn check_rename<'s>(
    name: &'s NewName,
    is_good: bool,
    seen: &mut BTreeSet<&'s str>,
) -> Result<(), String> {
    let NewName { from, to } = name;
    let is_first = seen.insert(from) & (from == to || seen.insert(to));
    if is_good && is_first {
        return Ok(());
    }
    Err(format!("birth: {from:?} may not be renamed to {to:?}"))
}

/// Whether a role is not a customer's.
fn is_own_role(name: &str) -> bool {
    [BOOTSTRAP_ROLE, PROBER_ROLE, REPLICATION_ROLE].contains(&name) || name.starts_with("pg_")
}

fn check_settings(spec: &InstanceSpec) -> Result<(), String> {
    for (name, value) in &spec.settings {
        if !is_setting_name(name) {
            return Err(format!("settings: {name:?} is not the name of a setting"));
        }
        if OWN_SETTINGS.contains(&name.as_str()) {
            return Err(format!("settings: {name} is made by the agent"));
        }
        if value.chars().any(char::is_control) {
            return Err(format!(
                "settings: the value of {name} has a control character"
            ));
        }
    }
    Ok(())
}

fn check_rule(rule: &HbaRule) -> Result<(), String> {
    for word in [&rule.database, &rule.user] {
        if word != "all" && !is_name(word) {
            return Err(format!("hba: {word:?} is neither all nor a good name"));
        }
    }
    if is_network(&rule.address) {
        Ok(())
    } else {
        Err(format!(
            "hba: {:?} is not a network such as 10.0.0.0/8",
            rule.address
        ))
    }
}

fn check_roles(spec: &InstanceSpec) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for role in &spec.roles {
        let name = &role.name;
        if !is_name(name) || is_own_role(name) && name != PROBER_ROLE {
            return Err(format!("roles: {name:?} is not a good name for a role"));
        }
        if !seen.insert(name) {
            return Err(format!("roles: {name} is there twice"));
        }
        if role.superuser && name != PROBER_ROLE {
            return Err(format!("roles: {name} may not be a superuser"));
        }
        if !role.verifier.starts_with("SCRAM-SHA-256$") || !role.verifier.is_ascii() {
            return Err(format!("roles: {name} needs a SCRAM-SHA-256 verifier"));
        }
        if role.connection_limit < -1 {
            return Err(format!("roles: the connection limit of {name} is below -1"));
        }
    }
    Ok(())
}

fn check_databases(spec: &InstanceSpec) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for database in &spec.databases {
        let name = &database.name;
        if !is_name(name) || SYSTEM_DATABASES.contains(&name.as_str()) {
            return Err(format!(
                "databases: {name:?} is not a good name for a database"
            ));
        }
        if !seen.insert(name) {
            return Err(format!("databases: {name} is there twice"));
        }
        if !spec.roles.iter().any(|role| role.name == database.owner) {
            return Err(format!(
                "databases: the owner of {name} is not among the roles"
            ));
        }
        if database.connection_limit < -1 {
            return Err(format!(
                "databases: the connection limit of {name} is below -1"
            ));
        }
    }
    Ok(())
}

fn check_absent(spec: &InstanceSpec) -> Result<(), String> {
    for name in &spec.absent.databases {
        let is_wanted = spec.databases.iter().any(|database| database.name == *name);
        if !is_name(name) || is_wanted || SYSTEM_DATABASES.contains(&name.as_str()) {
            return Err(format!("absent.databases: {name:?} may not be dropped"));
        }
    }
    for name in &spec.absent.roles {
        let is_wanted = spec.roles.iter().any(|role| role.name == *name);
        if !is_name(name) || is_wanted || is_own_role(name) {
            return Err(format!("absent.roles: {name:?} may not be dropped"));
        }
    }
    Ok(())
}

fn check_slots(spec: &InstanceSpec) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in &spec.slots {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
            return Err(format!("slots: {name:?} is not a good name for a slot"));
        }
        if !seen.insert(name) {
            return Err(format!("slots: {name} is there twice"));
        }
    }
    Ok(())
}

/// ASCII letters, digits, `_` and `-`, beginning with a letter or `_`: names that mean themselves
/// everywhere, also in `pg_hba.conf`.
fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    name.len() <= NAME_BYTES_MAX
        && name.chars().all(good)
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn is_setting_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    name.split('.').count() <= 2 && name.split('.').all(is_word)
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let bits_max = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    let is_number = bits.len() <= 3 && bits.chars().all(|c| c.is_ascii_digit());
    is_number && bits.parse::<u16>().is_ok_and(|bits| bits <= bits_max)
}

#[cfg(test)]
pub(crate) mod tests;
