//! Processes of this machine: PostgreSQL's programs, how they are started, watched and ended.
//!
//! The guarantees that the rest builds on:
//! - A child either [dies with us](Lifetime::DiesWithUs), however we die, or
//!   [outlives us](Lifetime::Outlives) and can be adopted by the next process.
//! - PostgreSQL never runs as root: [`Account::for_postgres`] picks whom it runs as.
//! - A child sees none of our environment, which holds keys.
//! - A signal never hits a recycled process id: see [`RunningProcess`].
//! - "Stopped" is a look at the machine ([`processes_in`]), not the end of one process: backends
//!   go on for a while, and may commit, after their postmaster was killed with SIGKILL.
//!
//! Everything here is safe Rust: privileges and death signals are set by `setpriv` of util-linux.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

mod account;
mod data_directory;
mod embedded_postgres;
mod embedded_redis;
mod file_limit;
mod initdb;
mod launcher;
mod ports;
mod postgres_binaries;
mod postmaster_file;
mod ready;
mod running;
mod stopping;

pub use account::Account;
pub use data_directory::{EndStep, FAST_END, HARD_END, end_all_in, processes_in};
pub use embedded_postgres::{EmbeddedPostgres, EmbeddedPostgresOptions};
pub use embedded_redis::{EmbeddedRedis, EmbeddedRedisOptions};
pub use file_limit::raise_file_limit;
pub use initdb::{Initdb, make_durable_as};
pub use launcher::{DeathSignal, Launched, Lifetime, Program, run_to_end};
pub use ports::{DistinctPorts, free_port};
pub use postgres_binaries::{PostgresBinaries, PostgresInstallations, PostgresVersion};
pub use postmaster_file::{PostmasterFile, PostmasterState};
pub use ready::{tail_of, until_postgres_ready, until_tcp_answers};
pub use running::{RunningProcess, Signal};
pub use stopping::{StopSignals, exit_code};

/// Why a process could not be started, watched or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No usable PostgreSQL on this machine.
    #[error(
        "no PostgreSQL {wanted} found (looked in {searched}{too_old}); install it, for example: \
         apt-get install {package}"
    )]
    NoPostgres {
        /// Which one was wanted, for people.
        wanted: String,
        /// Directories that were looked into.
        searched: String,
        /// Installations that are there but lack important fixes; empty if none.
        too_old: String,
        /// Debian package that brings one.
        package: String,
    },
    /// The operating system has no such user.
    #[error(
        "user {name:?} does not exist, and PostgreSQL must not run as root; install the \
         distribution's PostgreSQL package, or create the user: useradd --system {name}"
    )]
    NoAccount {
        /// Name of the user.
        name: String,
    },
    /// A directory on the way to a file cannot be passed by the user that needs the file.
    #[error(
        "user {account} cannot reach {path}: {obstacle} does not let it pass; choose another \
         directory (for example below /var/lib), or: chmod o+x {obstacle}"
    )]
    OutOfReach {
        /// The user.
        account: String,
        /// What it needs.
        path: PathBuf,
        /// The directory that is closed to it.
        obstacle: PathBuf,
    },
    /// A program did not start.
    #[error("failed to start {program}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program ended with an error, or before it was ready.
    #[error("{program} ended with {outcome}: {output}")]
    Failed {
        /// The program.
        program: String,
        /// Exit status or signal.
        outcome: String,
        /// The last lines it wrote.
        output: String,
    },
    /// A program did not get ready in time.
    #[error("{what} was not ready within {waited:?}: {output}")]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The last lines it wrote.
        output: String,
    },
    /// Processes of a directory could not be ended.
    #[error("{left} processes in {directory} are left although they were killed")]
    NotEnded {
        /// The directory.
        directory: PathBuf,
        /// How many.
        left: usize,
    },
    /// The machine does not tell where a process works, so "none is left" cannot be confirmed.
    #[error(
        "failed to read the working directory of process {pid}: run as the user of PostgreSQL, \
         or as root with CAP_SYS_PTRACE"
    )]
    Hidden {
        /// The process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No TCP port is free.
    #[error("no free TCP port found on 127.0.0.1")]
    NoFreePort,
    /// A file operation failed.
    #[error("failed to {doing} {path}")]
    File {
        /// What was done, as a verb.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ProcessError {
    /// Wraps the error of a file operation: `.map_err(ProcessError::file("read", path))`.
    pub fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }
}
