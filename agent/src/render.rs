//! PostgreSQL's configuration files, as a spec wants them.

use std::path::Path;

use shared::agent_api::{HbaMethod, HbaRule, InstanceSpec};

use crate::paths::SOCKETS_FROM_DATA;
use crate::quote::{hba_name, setting};

/// The superuser `initdb` makes: for local administration only, nobody may log in as it from
/// outside.
pub(crate) const BOOTSTRAP_ROLE: &str = "postgres";

/// Names of the files below the configuration directory.
pub(crate) const CONFIGURATION: &str = "postgresql.conf";
pub(crate) const HBA: &str = "pg_hba.conf";
pub(crate) const IDENT: &str = "pg_ident.conf";
pub(crate) const CERTIFICATE: &str = "server.crt";
pub(crate) const KEY: &str = "server.key";

/// First line of each file.
const HEADER: &str = "# Rendered by ringmaster-agent from its instruction.\n";

/// Settings that only the agent makes: they say where things are, and who is let in.
pub(crate) const OWN_SETTINGS: &[&str] = &[
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "log_destination",
    "logging_collector",
    "port",
    "ssl",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_crl_dir",
    "ssl_crl_file",
    "ssl_dh_params_file",
    "ssl_key_file",
    "ssl_passphrase_command",
    "unix_socket_directories",
    "unix_socket_group",
    "unix_socket_permissions",
];

/// `postgresql.conf`: one setting a line, sorted, ours first.
pub(crate) fn postgresql_conf(spec: &InstanceSpec, configuration: &Path) -> String {
    let file = |name: &str| configuration.join(name).display().to_string();
    let ours = [
        ("listen_addresses", spec.listen_addresses.join(",")),
        ("port", spec.port.to_string()),
        ("unix_socket_directories", SOCKETS_FROM_DATA.to_owned()),
        ("unix_socket_permissions", "0700".to_owned()),
        ("hba_file", file(HBA)),
        ("ident_file", file(IDENT)),
        ("ssl", "on".to_owned()),
        ("ssl_cert_file", file(CERTIFICATE)),
        ("ssl_key_file", file(KEY)),
    ];
    let ours = ours.iter().map(|(name, value)| (*name, value));
    let theirs = spec
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value));
    let lines = ours
        .chain(theirs)
        .map(|(name, value)| format!("{name} = {}\n", setting(value)));
    let lines: Vec<String> = lines.collect();
    format!("{HEADER}{}", lines.concat())
}

/// Names of the settings that differ between two of our `postgresql.conf`.
pub(crate) fn changed_settings(old: &str, new: &str) -> Vec<String> {
    let lines = |text: &str| -> Vec<String> { text.lines().map(ToOwned::to_owned).collect() };
    let (old, new) = (lines(old), lines(new));
    let only_in = |these: &[String], those: &[String]| -> Vec<String> {
        let only = these.iter().filter(|line| !those.contains(line));
        only.filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
            .collect()
    };
    let mut names = [only_in(&old, &new), only_in(&new, &old)].concat();
    names.sort();
    names.dedup();
    names
}

/// `pg_hba.conf`: ourselves over the local socket, which only PostgreSQL's own user and root can
/// reach; then the spec's rules, all with TLS; nobody else.
pub(crate) fn pg_hba_conf(rules: &[HbaRule]) -> String {
    let ours = hba_name(BOOTSTRAP_ROLE);
    let rules: Vec<String> = rules.iter().map(hba_line).collect();
    format!(
        "{HEADER}local all {ours} trust\nlocal all all reject\nhost all {ours} all reject\n{}",
        rules.concat()
    )
}

fn hba_line(rule: &HbaRule) -> String {
    let method = match rule.method {
        HbaMethod::ScramSha256 => "scram-sha-256",
        HbaMethod::Reject => "reject",
    };
    let (database, user) = (hba_word(&rule.database), hba_word(&rule.user));
    format!("hostssl {database} {user} {} {method}\n", rule.address)
}

/// `all` has its special meaning; every other word is a name.
fn hba_word(word: &str) -> String {
    if word == "all" {
        return word.to_owned();
    }
    hba_name(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_check::tests::spec;

    #[test]
    fn settings_of_the_spec_follow_our_own() {
        let mut spec = spec();
        spec.settings
            .insert("work_mem".to_owned(), "8MB".to_owned());
        spec.settings
            .insert("archive_command".to_owned(), "echo '%p'".to_owned());
        let text = postgresql_conf(&spec, Path::new("/srv/configuration"));
        let expected = "# Rendered by ringmaster-agent from its instruction.\n\
            listen_addresses = '127.0.0.1'\n\
            port = '15432'\n\
            unix_socket_directories = '../socket'\n\
            unix_socket_permissions = '0700'\n\
            hba_file = '/srv/configuration/pg_hba.conf'\n\
            ident_file = '/srv/configuration/pg_ident.conf'\n\
            ssl = 'on'\n\
            ssl_cert_file = '/srv/configuration/server.crt'\n\
            ssl_key_file = '/srv/configuration/server.key'\n\
            archive_command = 'echo ''%p'''\n\
            work_mem = '8MB'\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_changed_setting_is_named() {
        let old = "# x\na = '1'\nb = '2'\nc = '3'\n";
        assert_eq!(
            changed_settings(old, "# y\na = '1'\nb = '4'\nd = '5'\n"),
            ["b", "c", "d"]
        );
        assert!(changed_settings(old, old).is_empty());
    }

    #[test]
    fn rules_of_the_spec_follow_our_own() {
        let rule = |database: &str, user: &str, method| HbaRule {
            database: database.to_owned(),
            user: user.to_owned(),
            address: "10.0.0.0/8".to_owned(),
            method,
        };
        let text = pg_hba_conf(&[
            rule("shop", "shop_owner", HbaMethod::ScramSha256),
            rule("all", "replication", HbaMethod::Reject),
        ]);
        let expected = "# Rendered by ringmaster-agent from its instruction.\n\
            local all \"postgres\" trust\n\
            local all all reject\n\
            host all \"postgres\" all reject\n\
            hostssl \"shop\" \"shop_owner\" 10.0.0.0/8 scram-sha-256\n\
            hostssl all \"replication\" 10.0.0.0/8 reject\n";
        assert_eq!(text, expected);
    }
}
