//! Options of a worker process.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use shared::config::{
    ArchiveOptions, ControlDatabaseOptions, EncryptionKeyOptions, LogOptions, RedisOptions,
    Validate,
};
use shared::queue::Ring;

use crate::cloud::LocalOptions;
use crate::observe::{FeelConfig, RecordConfig};
use crate::ring::Settings;

/// Threads of a worker that is not told otherwise.
pub const DEFAULT_THREADS: usize = 1;

fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=64).contains(number))
        .ok_or_else(|| "must be a number from 1 to 64".to_owned())
}

/// Turns the rings: watches every database, and provisions, repairs and removes.
#[derive(Debug, Clone, Parser)]
#[command(name = "ringmaster-worker", version)]
#[expect(
    missing_docs,
    reason = "a doc comment on a flattened field would replace its help"
)]
pub struct WorkerOptions {
    #[command(flatten)]
    pub database: ControlDatabaseOptions,
    #[command(flatten)]
    pub redis: RedisOptions,
    #[command(flatten)]
    pub encryption_key: EncryptionKeyOptions,
    #[command(flatten)]
    pub archive: ArchiveOptions,
    #[command(flatten)]
    pub log: LogOptions,
    #[command(flatten)]
    pub ring: Settings,
    #[command(flatten)]
    pub feel: FeelConfig,
    #[command(flatten)]
    pub record: RecordConfig,

    /// Address that answers `/metrics`, `/healthz` and `/readyz`; without it nothing does.
    #[arg(long, env = "RINGMASTER_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// Threads that turns run on (1 to 64). A turn waits most of its time: one thread makes
    /// thousands a second, and each of them cheaper than two threads do, which wake one another.
    /// More workers scale further than more threads.
    #[arg(
        long,
        env = "RINGMASTER_THREADS",
        value_name = "NUMBER",
        default_value_t = DEFAULT_THREADS,
        value_parser = threads
    )]
    pub threads: usize,

    /// Who runs new servers.
    #[arg(long, env = "RINGMASTER_PROVIDER", value_enum, default_value = "local")]
    pub provider: ProviderKind,

    /// Most timelines that are proven by a restore at the same time, in the whole fleet (0 to
    /// 1000). Each takes a server of its own for as long. With 0 none is proven, and after a while
    /// alerts say so. Give all workers the same.
    #[arg(
        long,
        env = "RINGMASTER_PROOFS_AT_ONCE",
        value_name = "NUMBER",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(0..=1000)
    )]
    pub proofs_at_once: u32,

    /// How customers reach their databases. With `direct` a URL names the server itself, so it does
    /// not survive that server.
    #[arg(
        long,
        env = "RINGMASTER_ENDPOINT",
        value_enum,
        default_value = "gateway"
    )]
    pub endpoint: EndpointKind,

    /// Major version of PostgreSQL for new databases (15 or later).
    #[arg(
        long,
        env = "RINGMASTER_POSTGRES_MAJOR",
        default_value_t = 15,
        value_parser = clap::value_parser!(u16).range(15..)
    )]
    pub postgres_major: u16,

    #[command(flatten)]
    pub local: LocalProviderOptions,
}

/// Who runs machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProviderKind {
    /// This computer.
    Local,
}

impl ProviderKind {
    /// The name as it is stored with each server.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
        }
    }
}

/// How customers reach their databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EndpointKind {
    /// Through the replicas of the gateway.
    Gateway,
    /// At the address of the server.
    Direct,
}

/// Options of the provider `local`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Provider local")]
pub struct LocalProviderOptions {
    /// Directory for the servers of this computer; the user that PostgreSQL runs as must be able
    /// to pass it and its parents.
    #[arg(
        long,
        env = "RINGMASTER_LOCAL_ROOT",
        value_name = "DIRECTORY",
        default_value = "servers"
    )]
    pub local_root: PathBuf,

    /// The agent's program.
    #[arg(
        long,
        env = "RINGMASTER_AGENT_BINARY",
        value_name = "FILE",
        default_value = "ringmaster-agent"
    )]
    pub agent_binary: PathBuf,

    /// Process whose end ends all agents and databases of this computer. Without it they go on,
    /// also when this worker ends.
    #[arg(long, env = "RINGMASTER_SUPERVISOR_PID", value_name = "PID")]
    pub supervisor_pid: Option<u32>,

    /// Further directories to look for PostgreSQL in, separated by commas.
    #[arg(
        long,
        env = "RINGMASTER_POSTGRES_BIN_DIRS",
        value_name = "DIRECTORIES",
        value_delimiter = ','
    )]
    pub postgres_bin_dirs: Vec<PathBuf>,
}

impl From<LocalProviderOptions> for LocalOptions {
    fn from(options: LocalProviderOptions) -> Self {
        Self {
            root: options.local_root,
            agent_binary: options.agent_binary,
            supervisor_pid: options.supervisor_pid,
            postgres_bin_dirs: options.postgres_bin_dirs,
        }
    }
}

impl Validate for WorkerOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        self.database.problems(problems);
        self.redis.problems(problems);
        self.encryption_key.problems(problems);
        self.archive.problems(problems);
        if self.ring.rings == [Ring::Archive] && self.archive.bucket.is_none() {
            problems.push("--queues: the queue archive needs --archive-bucket".to_owned());
        }
        self.log.problems(problems);
        let ProviderKind::Local = self.provider;
        if !self.local.local_root.is_absolute() {
            problems.push("--local-root: must be an absolute path".to_owned());
        }
        if !self.local.agent_binary.is_file() {
            problems.push(format!(
                "--agent-binary: {} is not a file; give the path of ringmaster-agent",
                self.local.agent_binary.display()
            ));
        }
    }
}
