//! PostgreSQL's configuration files, as a spec wants them.

use std::path::Path;

use shared::agent_api::{
    HbaMethod, HbaRule, InstanceRole, InstanceSpec, REPLICATION_ROLE, Upstream,
};
use shared::ids::ServerId;
use shared::pki::{server_common_name, server_name};

use crate::paths::SOCKETS_FROM_DATA;
use crate::quote::{conninfo_value, hba_name, setting};

/// The superuser `initdb` makes: for local administration only, nobody may log in as it from
/// outside.
pub(crate) const BOOTSTRAP_ROLE: &str = "postgres";

/// Names of the files below the configuration directory.
pub(crate) const CONFIGURATION: &str = "postgresql.conf";
pub(crate) const HBA: &str = "pg_hba.conf";
pub(crate) const IDENT: &str = "pg_ident.conf";
pub(crate) const CERTIFICATE: &str = "server.crt";
pub(crate) const KEY: &str = "server.key";
pub(crate) const AUTHORITY: &str = "authority.crt";

/// Map of `pg_ident.conf` from certificates to the role that followers stream as.
const STREAMERS: &str = "ringmaster_streamers";

/// First line of each file.
const HEADER: &str = "# Rendered by ringmaster-agent from its instruction.\n";

/// Settings that only the agent makes: they say where things are, and who is let in.
pub(crate) const OWN_SETTINGS: &[&str] = &[
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "hot_standby",
    "hot_standby_feedback",
    "ident_file",
    "listen_addresses",
    "log_destination",
    "logging_collector",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_end_command",
    "recovery_min_apply_delay",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "restore_command",
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
    let streaming = streaming(spec, configuration);
    let ours = ours.iter().chain(&streaming);
    let ours = ours.map(|(name, value)| (*name, value));
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

/// What streaming needs, on either side. (The certificate of a client is only asked for where there
/// are streamers: a customer's client may have one, of somebody else, and would be refused.)
fn streaming(spec: &InstanceSpec, configuration: &Path) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    if !spec.streamers.is_empty() {
        let authority = configuration.join(AUTHORITY);
        settings.push(("ssl_ca_file", authority.display().to_string()));
    }
    if spec.role == InstanceRole::Follower {
        // A query at a follower must not keep dead rows alive at the leader.
        settings.push(("hot_standby_feedback", "off".to_owned()));
        if !spec.settings.contains_key(RETRY_INTERVAL) {
            settings.push((RETRY_INTERVAL, RETRY_AFTER.to_owned()));
        }
    }
    if let Some(upstream) = spec.upstream {
        let conninfo = primary_conninfo(upstream, spec, configuration);
        settings.push(("primary_conninfo", conninfo));
    }
    settings
}

/// How long a follower waits that found nothing new anywhere: each time it asks the archive costs a
/// worker a look there.
const RETRY_INTERVAL: &str = "wal_retrieve_retry_interval";
const RETRY_AFTER: &str = "2s";

/// To the address of the upstream, which must show a certificate of ours with its name; with our own
/// certificate, and nothing else that would let us in.
fn primary_conninfo(upstream: Upstream, spec: &InstanceSpec, configuration: &Path) -> String {
    let file = |name: &str| configuration.join(name).display().to_string();
    let words = [
        ("host", server_name(upstream.server)),
        ("hostaddr", upstream.host.to_string()),
        ("port", upstream.port.to_string()),
        ("user", REPLICATION_ROLE.to_owned()),
        ("application_name", spec.participant.to_string()),
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", file(AUTHORITY)),
        ("sslcert", file(CERTIFICATE)),
        ("sslkey", file(KEY)),
        ("gssencmode", "disable".to_owned()),
        ("connect_timeout", "10".to_owned()),
        ("keepalives_idle", "20".to_owned()),
        ("keepalives_interval", "5".to_owned()),
        ("keepalives_count", "3".to_owned()),
    ];
    let words = words.map(|(name, value)| format!("{name}={}", conninfo_value(&value)));
    words.join(" ")
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
/// reach; followers, by the certificates that `pg_ident.conf` names; then the spec's rules, all with
/// TLS; nobody else.
pub(crate) fn pg_hba_conf(rules: &[HbaRule], streamers: &[ServerId]) -> String {
    let ours = hba_name(BOOTSTRAP_ROLE);
    let rules: Vec<String> = rules.iter().map(hba_line).collect();
    let streaming = if streamers.is_empty() {
        String::new()
    } else {
        let role = hba_name(REPLICATION_ROLE);
        format!("hostssl replication {role} all cert map={STREAMERS}\nhost all {role} all reject\n")
    };
    format!(
        "{HEADER}local all {ours} trust\nlocal all all reject\nhost all {ours} all reject\n\
         {streaming}{}",
        rules.concat()
    )
}

/// `pg_ident.conf`: whose certificates may stream.
pub(crate) fn pg_ident_conf(streamers: &[ServerId]) -> String {
    let lines = streamers.iter().map(|server| {
        let name = hba_name(&server_common_name(*server));
        format!("{STREAMERS} {name} {REPLICATION_ROLE}\n")
    });
    let lines: Vec<String> = lines.collect();
    format!("{HEADER}{}", lines.concat())
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
        let text = pg_hba_conf(
            &[
                rule("shop", "shop_owner", HbaMethod::ScramSha256),
                rule("all", "replication", HbaMethod::Reject),
            ],
            &[],
        );
        let expected = "# Rendered by ringmaster-agent from its instruction.\n\
            local all \"postgres\" trust\n\
            local all all reject\n\
            host all \"postgres\" all reject\n\
            hostssl \"shop\" \"shop_owner\" 10.0.0.0/8 scram-sha-256\n\
            hostssl all \"replication\" 10.0.0.0/8 reject\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn only_the_named_servers_may_stream() {
        let server = ServerId::from_uuid(uuid::Uuid::from_u128(5));
        let text = pg_hba_conf(&[], &[server]);
        assert!(
            text.ends_with(
                "hostssl replication \"ringmaster_replication\" all cert map=ringmaster_streamers\n\
                 host all \"ringmaster_replication\" all reject\n"
            ),
            "{text}"
        );
        assert_eq!(
            pg_ident_conf(&[server]),
            "# Rendered by ringmaster-agent from its instruction.\n\
             ringmaster_streamers \"server 00000000-0000-0000-0000-000000000005\" \
             ringmaster_replication\n"
        );
        assert!(!pg_ident_conf(&[]).contains("ringmaster_streamers"));
    }

    #[test]
    fn a_follower_trusts_only_the_server_that_is_named() {
        let mut spec = spec();
        spec.role = InstanceRole::Follower;
        spec.upstream = Some(Upstream {
            server: ServerId::from_uuid(uuid::Uuid::from_u128(5)),
            host: std::net::IpAddr::from([10, 0, 0, 7]),
            port: 5432,
        });
        let text = postgresql_conf(&spec, Path::new("/srv/it's"));
        for part in [
            "host=''00000000-0000-0000-0000-000000000005.server.ringmaster.internal''",
            "hostaddr=''10.0.0.7'' port=''5432'' user=''ringmaster_replication''",
            "sslmode=''verify-full'' sslrootcert=''/srv/it\\\\''s/authority.crt''",
            "\nhot_standby_feedback = 'off'\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("ssl_ca_file"), "{text}");
    }
}
