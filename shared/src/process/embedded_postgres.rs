//! A PostgreSQL of our own on 127.0.0.1: the control database under `ringmaster up`, and the
//! servers of tests and load tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateDatabase as _;

use super::{
    Account, FAST_END, HARD_END, Initdb, Launched, Lifetime, PostgresBinaries, PostmasterFile,
    ProcessError, Program, RunningProcess, end_all_in, processes_in, until_postgres_ready,
};
use crate::secret::Secret;

/// Longest time from start to the first connection: after a crash, redo comes first.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// The superuser of an embedded PostgreSQL.
const SUPERUSER: &str = "ringmaster";

/// Where and how an embedded PostgreSQL runs.
#[derive(Debug, Clone)]
pub struct EmbeddedPostgresOptions {
    /// The data directory, made by `initdb` if it does not exist. Its parent must be passable for
    /// the account.
    pub data_directory: PathBuf,
    /// File its log is appended to.
    pub log: PathBuf,
    /// TCP port on 127.0.0.1.
    pub port: u16,
    /// Password of the superuser `ringmaster`, set by `initdb`; `None` trusts everybody on this
    /// machine, which only tests should.
    pub password: Option<Secret>,
    /// What happens to it when we end.
    pub lifetime: Lifetime,
    /// Further settings, name to value, as on the command line.
    pub settings: Vec<(String, String)>,
}

/// A running embedded PostgreSQL. Dropping this leaves it running.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    data_directory: PathBuf,
    port: u16,
    password: Option<Secret>,
    process: RunningProcess,
    /// Kept so that the child is not left a zombie; none if it was adopted.
    _child: Option<Launched>,
}

impl EmbeddedPostgres {
    /// Makes the data directory if needed and starts PostgreSQL on it, or adopts the one that runs
    /// there already (then its own port counts). Leftovers of a killed one are ended first.
    pub async fn start(
        binaries: &PostgresBinaries,
        account: &Account,
        options: EmbeddedPostgresOptions,
    ) -> Result<Self, ProcessError> {
        if !options.data_directory.exists() {
            let initdb = Initdb {
                superuser: SUPERUSER,
                password: options.password.as_ref(),
                arguments: &[],
            };
            initdb
                .run(binaries, account, &options.data_directory)
                .await?;
        }
        account.check_reaches(&options.data_directory)?;
        if let Some((process, port)) = running_in(&options.data_directory)? {
            return Ok(Self {
                data_directory: options.data_directory,
                port,
                password: options.password,
                process,
                _child: None,
            });
        }
        end_all_in(&options.data_directory, HARD_END).await?;
        PostmasterFile::remove(&options.data_directory)?;
        let mut child = postgres(binaries, account, &options)
            .launch(options.lifetime, &options.log)
            .await?;
        until_postgres_ready(&mut child, &options.data_directory, START_PATIENCE).await?;
        Ok(Self {
            process: RunningProcess::open(child.pid())?,
            data_directory: options.data_directory,
            port: options.port,
            password: options.password,
            _child: Some(child),
        })
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster.
    pub fn process(&self) -> &RunningProcess {
        &self.process
    }

    /// Its data directory.
    pub fn data_directory(&self) -> &Path {
        &self.data_directory
    }

    /// Connection URL of the superuser for one database.
    pub fn url(&self, database: &str) -> Secret {
        let password = match &self.password {
            Some(password) => format!(":{}", password.expose()),
            None => String::new(),
        };
        let port = self.port;
        Secret::new(format!(
            "postgres://{SUPERUSER}{password}@127.0.0.1:{port}/{database}?sslmode=disable"
        ))
    }

    /// Creates a database unless it exists.
    pub async fn ensure_database(&self, name: &str) -> Result<(), sqlx::Error> {
        let url = self.url(name);
        if sqlx::Postgres::database_exists(url.expose()).await? {
            return Ok(());
        }
        sqlx::Postgres::create_database(url.expose()).await
    }

    /// Ends it by a fast shutdown, harder if it does not obey, and returns when no process of its
    /// data directory is left.
    pub async fn stop(self) -> Result<(), ProcessError> {
        end_all_in(&self.data_directory, FAST_END).await
    }
}

fn postgres(
    binaries: &PostgresBinaries,
    account: &Account,
    options: &EmbeddedPostgresOptions,
) -> Program {
    let mut program = Program::new(binaries.program("postgres"), account)
        .arg("-D")
        .arg(&options.data_directory)
        .args(["-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories="])
        .args(["-p", &options.port.to_string()]);
    for (name, value) in &options.settings {
        program = program.args(["-c", &format!("{name}={value}")]);
    }
    program
}

/// The postmaster that runs on a data directory, with its port; `None` if there is none.
fn running_in(data_directory: &Path) -> Result<Option<(RunningProcess, u16)>, ProcessError> {
    let Some(file) = PostmasterFile::read(data_directory) else {
        return Ok(None);
    };
    let mut processes = processes_in(data_directory)?.into_iter();
    let postmaster = processes.find(|process| process.pid() == file.pid);
    Ok(postmaster.map(|process| (process, file.port)))
}
