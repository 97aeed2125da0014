//! Options of the agent.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use shared::config::{LogOptions, Validate};
use shared::ids::ServerId;

/// Runs PostgreSQL on this server as the control plane instructs.
#[derive(Debug, Clone, Parser)]
#[command(name = "ringmaster-agent", version)]
pub struct AgentOptions {
    /// The server this agent is for: its id in the control database, as in its certificate.
    #[arg(long, env = "RINGMASTER_AGENT_SERVER_ID", value_name = "UUID")]
    pub server_id: ServerId,

    /// Address and TCP port to serve HTTPS on, for example 10.0.0.5:7440.
    #[arg(long, env = "RINGMASTER_AGENT_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// Directory for everything of this server: the data directory of PostgreSQL, its
    /// configuration and log, and what the agent remembers. Made if absent; the user that
    /// PostgreSQL runs as must be able to pass it and its parents.
    #[arg(long, env = "RINGMASTER_AGENT_DATA_DIR", value_name = "DIRECTORY")]
    pub data_dir: PathBuf,

    /// File with the certificate of this server, PEM. Replaced when the control plane renews it.
    #[arg(long, env = "RINGMASTER_AGENT_CERTIFICATE", value_name = "FILE")]
    pub certificate: PathBuf,

    /// File with the private key of the certificate, PEM.
    #[arg(long, env = "RINGMASTER_AGENT_KEY", value_name = "FILE")]
    pub key: PathBuf,

    /// File with the certificate of the control plane's authority, PEM: only workers with a
    /// certificate of it are served.
    #[arg(long, env = "RINGMASTER_AGENT_CA", value_name = "FILE")]
    pub ca: PathBuf,

    /// Ends PostgreSQL when this agent ends, however it ends. Default: PostgreSQL goes on, and the
    /// next agent adopts it, so that an upgrade of the agent is no outage.
    #[arg(long, env = "RINGMASTER_AGENT_DIE_WITH_AGENT")]
    pub die_with_agent: bool,

    /// Ends this agent when the process with this id ends, as if by SIGTERM: for a whole system
    /// that runs on one computer and ends together.
    #[arg(long, env = "RINGMASTER_AGENT_DIE_WITH_PID", value_name = "PID")]
    pub die_with_pid: Option<u32>,

    /// Further directories to look for PostgreSQL in, separated by commas, before the places of
    /// the distribution: directories of programs, or with `bin`, `native/bin` or `<major>/bin`
    /// below.
    #[arg(
        long,
        env = "RINGMASTER_AGENT_POSTGRES_BIN_DIRS",
        value_name = "DIRECTORIES",
        value_delimiter = ','
    )]
    pub postgres_bin_dirs: Vec<PathBuf>,

    /// File that tells one boot of this machine from the next.
    #[arg(
        long,
        env = "RINGMASTER_AGENT_BOOT_ID_FILE",
        value_name = "FILE",
        default_value = "/proc/sys/kernel/random/boot_id"
    )]
    pub boot_id_file: PathBuf,

    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a doc comment here would replace the help of the options"
    )]
    pub log: LogOptions,
}

impl Validate for AgentOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        for (option, file) in [
            ("--certificate", &self.certificate),
            ("--key", &self.key),
            ("--ca", &self.ca),
        ] {
            if let Err(error) = std::fs::File::open(file) {
                problems.push(format!(
                    "{option}: {} cannot be read: {error}",
                    file.display()
                ));
            }
        }
        if !self.data_dir.is_absolute() {
            problems.push("--data-dir: must be an absolute path".to_owned());
        }
        if self.listen.port() == 0 {
            problems.push("--listen: port 0 would be chosen anew at each start".to_owned());
        }
        for directory in &self.postgres_bin_dirs {
            if !directory.is_dir() {
                let directory = directory.display();
                problems.push(format!(
                    "--postgres-bin-dirs: {directory} is not a directory"
                ));
            }
        }
        self.log.problems(problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_listed_at_once() {
        let error = shared::config::parse_from::<AgentOptions>(&[
            "ringmaster-agent",
            "--server-id=019a9b3c-7d1e-7c3a-9f00-1b2c3d4e5f60",
            "--listen=127.0.0.1:0",
            "--data-dir=relative",
            "--certificate=/no/such/certificate",
            "--key=/no/such/key",
            "--ca=/no/such/ca",
            "--postgres-bin-dirs=/no/such/a,/no/such/b",
        ])
        .unwrap_err()
        .to_string();
        for option in [
            "certificate",
            "key",
            "ca",
            "data-dir",
            "listen",
            "such/a",
            "such/b",
        ] {
            assert!(error.contains(option), "{option} is missing in: {error}");
        }
    }
}
