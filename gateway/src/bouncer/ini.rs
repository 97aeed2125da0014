//! `PgBouncer`'s files, as the table wants them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use shared::secret::Secret;

use crate::table::Lead;

/// Names of the files, in the working directory of the process.
pub(crate) const INI: &str = "pgbouncer.ini";
pub(crate) const USERS: &str = "users.txt";
pub(crate) const CERTIFICATE: &str = "client.crt";
pub(crate) const KEY: &str = "client.key";
pub(crate) const AUTHORITY: &str = "authority.crt";

/// Who may use the console: we. Customers' roles have an id in their names.
pub(crate) const CONSOLE_ROLE: &str = "ringmaster_gateway";

/// A setting without any effect here that the console shows: it holds a digest of what the files say,
/// by which one knows that they were read.
pub(crate) const MARK: &str = "syslog_ident";

/// How connections to servers are given to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pooling {
    /// A client keeps one until it leaves.
    Session,
    /// A client has one for as long as a transaction lasts.
    Transaction,
}

impl Pooling {
    /// Its name in logs and metrics, and that of its directory.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
        }
    }

    /// How long a connection to a server is kept that no client uses, in seconds: one that is kept for
    /// sessions is missing for pooled ones.
    const fn idle_seconds(self) -> u32 {
        match self {
            Self::Session => 5,
            Self::Transaction => 60,
        }
    }

    /// Most connections to the server of a database. The limit is the role's, at the server; pooled
    /// connections leave half of it to sessions.
    fn pool_size(self, connection_limit: u32) -> u32 {
        match self {
            Self::Session => connection_limit.max(1),
            Self::Transaction => connection_limit.div_ceil(2).max(1),
        }
    }
}

/// What does not change while a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub pooling: Pooling,
    pub listen: IpAddr,
    pub port: u16,
    pub max_clients: u32,
    pub client_patience: u32,
}

/// A database as the file says it, and the console after it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub pool_size: u32,
}

/// The databases, by the name that clients use.
pub(crate) fn entries(pooling: Pooling, leads: &BTreeMap<String, Lead>) -> BTreeMap<String, Entry> {
    let entry = |lead: &Lead| Entry {
        host: lead.upstream.host.clone(),
        port: lead.upstream.port,
        database: lead.database.clone(),
        pool_size: pooling.pool_size(lead.connection_limit),
    };
    let entries = leads.iter();
    entries
        .map(|(name, lead)| (name.clone(), entry(lead)))
        .collect()
}

/// The mark of all that the files say.
pub(crate) fn mark_of(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let hex: Vec<String> = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.concat()
}

/// `pgbouncer.ini`, but for its mark. Nothing in it is secret.
pub(crate) fn ini(settings: &Settings, entries: &BTreeMap<String, Entry>) -> String {
    let databases: Vec<String> = entries.iter().map(database_line).collect();
    let settings = fixed(settings);
    let settings = settings
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"));
    let (databases, settings) = (databases.concat(), settings.collect::<Vec<_>>().concat());
    format!(
        "; Rendered by ringmaster-gateway from the routes in the control database.\n\
         [databases]\n{databases}\n[pgbouncer]\n{settings}"
    )
}

fn database_line((name, entry): (&String, &Entry)) -> String {
    let Entry {
        host,
        port,
        database,
        pool_size,
    } = entry;
    let (host, database) = (quoted(host), quoted(database));
    format!("{name} = host={host} port={port} dbname={database} pool_size={pool_size}\n")
}

fn fixed(settings: &Settings) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("listen_addr", settings.listen.to_string()),
        ("listen_port", settings.port.to_string()),
        // Relative to the working directory, because a path of a socket may have no more than 107
        // bytes.
        ("unix_socket_dir", text(".")),
        ("unix_socket_mode", text("0700")),
        ("pool_mode", text(settings.pooling.name())),
        ("auth_type", text("scram-sha-256")),
        ("auth_file", text(USERS)),
        ("admin_users", text(CONSOLE_ROLE)),
        ("max_client_conn", settings.max_clients.to_string()),
        ("query_wait_timeout", settings.client_patience.to_string()),
        // A new client waits for its database before it is let in, too.
        (
            "client_login_timeout",
            (settings.client_patience + 5).to_string(),
        ),
        ("server_connect_timeout", text("3")),
        ("server_login_retry", text("0.2")),
        (
            "server_idle_timeout",
            settings.pooling.idle_seconds().to_string(),
        ),
        ("client_tls_sslmode", text("require")),
        ("client_tls_cert_file", text(CERTIFICATE)),
        ("client_tls_key_file", text(KEY)),
        ("server_tls_sslmode", text("verify-full")),
        ("server_tls_ca_file", text(AUTHORITY)),
        // Sent by drivers for Java; PostgreSQL needs it no more.
        ("ignore_startup_parameters", text("extra_float_digits")),
        ("tcp_keepalive", text("1")),
        ("tcp_keepidle", text("20")),
        ("tcp_keepintvl", text("5")),
        ("tcp_keepcnt", text("3")),
        ("tcp_user_timeout", text("15000")),
        ("log_connections", text("0")),
        ("log_disconnections", text("0")),
        ("log_stats", text("0")),
    ]
}

/// `users.txt`: roles with their verifiers, and who may use the console. Two databases with the
/// same owner (a follower and its original) have the same verifier; of a password that was just
/// changed the newest counts, which is the original's.
pub(crate) fn users(console_password: &Secret, leads: &BTreeMap<String, Lead>) -> String {
    let mut newest: Vec<&Lead> = leads.values().collect();
    newest.sort_by_key(|lead| lead.change);
    let roles = newest.iter().map(|lead| (&lead.role, &lead.verifier));
    let roles: BTreeMap<_, _> = roles.collect();
    let line = |role: &str, secret: &Secret| format!("\"{role}\" \"{}\"\n", secret.expose());
    let roles: String = roles
        .into_iter()
        .map(|(role, verifier)| line(role, verifier))
        .collect();
    format!("{}{roles}", line(CONSOLE_ROLE, console_password))
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use shared::domain::Traffic;
    use shared::ids::ResourceId;
    use shared::ports::Address;

    use super::*;

    fn leads() -> BTreeMap<String, Lead> {
        let lead = |port, limit, change: u64| Lead {
            resource: ResourceId::new(),
            upstream: Address {
                host: "10.0.0.7".to_owned(),
                port,
            },
            traffic: Traffic::Open,
            database: "shop".to_owned(),
            role: "shop".to_owned(),
            verifier: Secret::new(format!("SCRAM-SHA-256$4096:c2FsdA==$a:{change}")),
            connection_limit: limit,
            change,
        };
        let leads = [("shop", lead(5432, 21, 7)), ("reports", lead(5433, 0, 8))];
        leads.map(|(name, lead)| (name.to_owned(), lead)).into()
    }

    fn settings(pooling: Pooling) -> Settings {
        Settings {
            pooling,
            listen: Ipv4Addr::LOCALHOST.into(),
            port: 6432,
            max_clients: 100,
            client_patience: 30,
        }
    }

    #[test]
    fn each_database_is_a_line_with_its_server() {
        let entries = entries(Pooling::Session, &leads());
        let text = ini(&settings(Pooling::Session), &entries);
        assert!(text.contains("shop = host='10.0.0.7' port=5432 dbname='shop' pool_size=21\n"));
        assert!(text.contains("reports = host='10.0.0.7' port=5433 dbname='shop' pool_size=1\n"));
        assert!(text.contains("\npool_mode = session\n"), "{text}");
    }

    #[test]
    fn pooled_connections_leave_room_for_sessions() {
        let entries = entries(Pooling::Transaction, &leads());
        assert_eq!(entries["shop"].pool_size, 11);
        let text = ini(&settings(Pooling::Transaction), &entries);
        assert!(text.contains("\npool_mode = transaction\n"), "{text}");
    }

    #[test]
    fn a_role_of_two_databases_is_named_once_with_the_newest_password() {
        let text = users(&Secret::new("console"), &leads());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0], "\"ringmaster_gateway\" \"console\"");
        assert_eq!(lines[1], "\"shop\" \"SCRAM-SHA-256$4096:c2FsdA==$a:8\"");
    }

    #[test]
    fn no_value_ends_its_quotes() {
        assert_eq!(quoted("a'b"), "'a''b'");
    }
}
