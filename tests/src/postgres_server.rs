//! A PostgreSQL for one test, in a temporary directory, without fsync.
//!
//! `initdb` runs once for each version and is kept as a template that every server is copied from.
//! Servers die with the test, however it ends.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::process::{
    Account, DeathSignal, EmbeddedPostgres, EmbeddedPostgresOptions, EndStep, FAST_END, Initdb,
    Lifetime, PostgresBinaries, PostgresInstallations, Program, Signal, end_all_in, free_port,
    run_to_end,
};

use crate::agent_server::end_at_once;

/// Changes when the way the template is made changes.
const TEMPLATE_EDITION: u32 = 1;

/// What a test server gives up for speed, and lets everything be tested with.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("shared_buffers", "16MB"),
    ("max_connections", "200"),
    ("autovacuum", "off"),
];

/// All at once, without warning.
const KILL: &[EndStep] = &[EndStep {
    to_all: true,
    signal: Signal::KILL,
    patience: Duration::from_secs(20),
}];

/// A PostgreSQL that belongs to one test. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct PostgresServer {
    directory: PathBuf,
    binaries: PostgresBinaries,
    account: Account,
    running: Option<EmbeddedPostgres>,
    port: u16,
}

impl PostgresServer {
    /// Starts a server of the newest version on this machine.
    pub async fn start() -> anyhow::Result<Self> {
        let installations = PostgresInstallations::discover(&[]).await;
        let binaries = installations.newest()?.clone();
        let account = Account::for_postgres()?;
        let template = template(&binaries, &account).await?;
        let directory = own_directory(&account)?;
        let copy = Program::new("cp", &account)
            .args(["--archive", "--reflink=auto"])
            .arg(template)
            .arg(directory.join("data"));
        run_to_end(&copy).await.context("copy the template")?;
        let mut server = Self {
            directory,
            binaries,
            account,
            running: None,
            port: free_port()?,
        };
        for _ in 0..5 {
            if server.restart().await.is_ok() {
                break;
            }
            // Another test took the port between the look and the start.
            server.port = free_port()?;
        }
        ensure!(
            server.running.is_some(),
            "PostgreSQL does not start: {}",
            shared::process::tail_of(&server.log())
        );
        Ok(server)
    }

    /// Its TCP port on 127.0.0.1; the same after [`PostgresServer::restart`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connection URL of the superuser for `database`.
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://ringmaster@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Creates a database, unless it exists, and gives its URL.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<String> {
        let running = self.running.as_ref().context("the server was killed")?;
        running.ensure_database(name).await?;
        Ok(self.url(name))
    }

    /// Kills every process of it with SIGKILL, as a power cut would.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.running = None;
        Ok(end_all_in(&self.data_directory(), KILL).await?)
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.running = None;
        Ok(end_all_in(&self.data_directory(), FAST_END).await?)
    }

    /// Starts it again on the same port, stopped first if it runs.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        let settings = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = EmbeddedPostgresOptions {
            data_directory: self.data_directory(),
            log: self.log(),
            port: self.port,
            password: None,
            lifetime: Lifetime::DiesWithUs(DeathSignal::Quit),
            settings: settings.collect(),
        };
        let started = EmbeddedPostgres::start(&self.binaries, &self.account, options).await?;
        self.running = Some(started);
        Ok(())
    }

    /// Its data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        end_at_once(&self.data_directory());
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// A fresh directory that `account` may enter.
fn own_directory(account: &Account) -> anyhow::Result<PathBuf> {
    let directory = tempfile::Builder::new()
        .prefix("ringmaster-test-")
        .tempdir()?
        .keep();
    account.give(&directory)?;
    account.check_reaches(&directory.join("."))?;
    Ok(directory)
}

/// The data directory all servers of this version are copied from.
async fn template(binaries: &PostgresBinaries, account: &Account) -> anyhow::Result<PathBuf> {
    let home = std::env::temp_dir().join(format!("ringmaster-test-templates-{}", account.uid()));
    account.make_private_directory(&home)?;
    let owner = fs::metadata(&home)?.uid();
    ensure!(
        owner == account.uid(),
        "{} belongs to user {owner}; remove it",
        home.display()
    );
    let finished = home.join(format!("{}-{TEMPLATE_EDITION}", binaries.version));
    if !finished.exists() {
        make_template(binaries, account, &home, &finished).await?;
    }
    Ok(finished)
}

/// Several tests may do this at once: each makes its own, and the first to finish wins.
async fn make_template(
    binaries: &PostgresBinaries,
    account: &Account,
    home: &Path,
    finished: &Path,
) -> anyhow::Result<()> {
    let own = tempfile::Builder::new()
        .prefix("making-")
        .tempdir_in(home)?;
    account.give(own.path())?;
    let made = own.path().join("data");
    let initdb = Initdb {
        superuser: "ringmaster",
        password: None,
        arguments: &["--wal-segsize=1"],
    };
    initdb.run(binaries, account, &made).await?;
    match fs::rename(&made, finished) {
        Err(error) if !finished.exists() => Err(error).context("keep the template"),
        Ok(()) | Err(_) => Ok(()),
    }
}
