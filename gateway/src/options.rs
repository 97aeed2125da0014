//! Options of a gateway process.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use shared::config::{ControlDatabaseOptions, EncryptionKeyOptions, LogOptions, Validate};

/// Leads clients to databases: runs `PgBouncer` as the routes in the control database say.
#[derive(Debug, Clone, Parser)]
#[command(name = "ringmaster-gateway", version)]
#[expect(
    missing_docs,
    reason = "a doc comment on a flattened field would replace its help"
)]
pub struct GatewayOptions {
    #[command(flatten)]
    pub database: ControlDatabaseOptions,
    #[command(flatten)]
    pub encryption_key: EncryptionKeyOptions,
    #[command(flatten)]
    pub log: LogOptions,

    /// Address that answers `/metrics`, `/healthz` and `/readyz`; without it nothing does.
    #[arg(long, env = "RINGMASTER_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// Directory of this replica: its id, and what its `PgBouncer`s are told. The user that they run
    /// as must be able to pass it and its parents.
    #[arg(
        long,
        env = "RINGMASTER_GATEWAY_ROOT",
        value_name = "DIRECTORY",
        default_value = "/var/lib/ringmaster/gateway"
    )]
    pub root: PathBuf,

    /// Address that clients are served at.
    #[arg(
        long,
        env = "RINGMASTER_GATEWAY_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1"
    )]
    pub listen: IpAddr,

    /// Port whose connections are sessions: everything that PostgreSQL can (1 to 65535).
    #[arg(
        long,
        env = "RINGMASTER_SESSION_PORT",
        value_name = "PORT",
        default_value_t = 6432,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub session_port: u16,

    /// Port that lends connections for a transaction at a time (1 to 65535).
    #[arg(
        long,
        env = "RINGMASTER_POOLED_PORT",
        value_name = "PORT",
        default_value_t = 6433,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub pooled_port: u16,

    /// Host that URLs name: this machine, or what stands before all replicas. Give all replicas the
    /// same. A database keeps the one that it was made with.
    #[arg(
        long,
        env = "RINGMASTER_PUBLIC_HOST",
        value_name = "HOST",
        default_value = "127.0.0.1"
    )]
    pub public_host: String,

    /// Port that URLs name for sessions, if it is not that of this machine.
    #[arg(long, env = "RINGMASTER_PUBLIC_SESSION_PORT", value_name = "PORT")]
    pub public_session_port: Option<u16>,

    /// Port that URLs name for pooled connections, if it is not that of this machine.
    #[arg(long, env = "RINGMASTER_PUBLIC_POOLED_PORT", value_name = "PORT")]
    pub public_pooled_port: Option<u16>,

    /// Certificate that clients are shown, PEM, with its chain; without one a certificate of the
    /// control plane is made and renewed. A new one in the same file is taken up within a minute.
    #[arg(
        long,
        env = "RINGMASTER_TLS_CERTIFICATE_FILE",
        value_name = "FILE",
        requires = "tls_key_file"
    )]
    pub tls_certificate_file: Option<PathBuf>,

    /// Private key of that certificate, PEM.
    #[arg(
        long,
        env = "RINGMASTER_TLS_KEY_FILE",
        value_name = "FILE",
        requires = "tls_certificate_file"
    )]
    pub tls_key_file: Option<PathBuf>,

    /// Most clients of each port (10 to 100000). Each takes a file descriptor, and so does each
    /// connection to a server.
    #[arg(
        long,
        env = "RINGMASTER_MAX_CLIENTS",
        value_name = "NUMBER",
        default_value_t = 5000,
        value_parser = clap::value_parser!(u32).range(10..=100_000)
    )]
    pub max_clients: u32,

    /// Longest time a client waits for its database, in seconds, until it gets an error (1 to 3600).
    #[arg(
        long,
        env = "RINGMASTER_CLIENT_PATIENCE",
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub client_patience: u32,

    /// The program `PgBouncer`, 1.18 or later.
    #[arg(
        long,
        env = "RINGMASTER_PGBOUNCER",
        value_name = "FILE",
        default_value = "pgbouncer"
    )]
    pub pgbouncer: PathBuf,

    /// Ends the `PgBouncer`s when this process ends, however it ends. Without it they go on, and the
    /// next process of this directory takes them over.
    #[arg(long, env = "RINGMASTER_PGBOUNCER_DIES_WITH_GATEWAY")]
    pub die_together: bool,
}

impl GatewayOptions {
    /// Port that URLs name for sessions.
    pub(crate) fn told_session_port(&self) -> u16 {
        self.public_session_port.unwrap_or(self.session_port)
    }

    /// Port that URLs name for pooled connections.
    pub(crate) fn told_pooled_port(&self) -> u16 {
        self.public_pooled_port.unwrap_or(self.pooled_port)
    }
}

impl Validate for GatewayOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        self.database.problems(problems);
        self.encryption_key.problems(problems);
        self.log.problems(problems);
        if self.database.database_connections < 2 {
            problems.push("--database-connections: must be 2 or more, for one listens".to_owned());
        }
        if !self.root.is_absolute() {
            problems.push("--root: must be an absolute path".to_owned());
        }
        if self.session_port == self.pooled_port {
            problems.push("--pooled-port: must not be the --session-port".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if self.public_host.is_empty() || !self.public_host.chars().all(plain) {
            problems.push("--public-host: must be a host name or an IP address".to_owned());
        }
        for file in [&self.tls_certificate_file, &self.tls_key_file] {
            if let Some(file) = file.as_ref().filter(|file| !file.is_file()) {
                problems.push(format!("{} is not a file", file.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(arguments: &[&str]) -> Vec<String> {
        let usual = [
            "ringmaster-gateway",
            "--database-url=postgres://a:b@127.0.0.1/c",
            "--encryption-key-file=/dev/null",
        ];
        let options = GatewayOptions::try_parse_from(usual.iter().chain(arguments)).unwrap();
        let mut problems = Vec::new();
        options.problems(&mut problems);
        problems.retain(|problem| !problem.contains("ENCRYPTION"));
        problems
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let wrong = |arguments: &[&str], part: &str| {
            let problems = problems(arguments);
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{arguments:?}: {problems:?}"
            );
        };
        wrong(&["--root=here"], "--root");
        wrong(
            &["--session-port=7000", "--pooled-port=7000"],
            "--pooled-port",
        );
        wrong(&["--public-host=a b"], "--public-host");
        let files = ["--tls-key-file=/no/key", "--tls-certificate-file=/dev/null"];
        wrong(&files, "/no/key is not a file");
    }

    #[test]
    fn urls_name_other_ports_if_somebody_stands_before() {
        let parse = |arguments: &[&str]| {
            let usual = ["x", "--database-url=a", "--encryption-key-file=b"];
            GatewayOptions::try_parse_from(usual.iter().chain(arguments)).unwrap()
        };
        let options = parse(&["--session-port=7000", "--public-session-port=5432"]);
        assert_eq!(options.told_session_port(), 5432);
        assert_eq!(options.told_pooled_port(), options.pooled_port);
    }
}
