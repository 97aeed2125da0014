//! A PostgreSQL of the scenario's own, with TLS, as the agent sets one up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use shared::agent_api::PROBER_ROLE;
use shared::clock::SystemClock;
use shared::ids::ServerId;
use shared::pki::{CertificateAuthority, server_name};
use shared::process::{
    Account, DeathSignal, EmbeddedPostgres, EmbeddedPostgresOptions, Lifetime,
    PostgresInstallations, RunningProcess, free_port, processes_in,
};
use shared::secret::Secret;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

/// A running PostgreSQL on a free port; it ends with us.
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) password: Secret,
    pub(super) ca_pem: String,
    pub(super) name: String,
    running: EmbeddedPostgres,
    _directory: TempDir,
}

impl Server {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let account = Account::for_postgres()?;
        let directory = tempfile::tempdir().context("make a directory for PostgreSQL")?;
        account.give(directory.path())?;
        let password = Secret::random();
        let port = free_port()?;
        let options = EmbeddedPostgresOptions {
            data_directory: directory.path().join("data"),
            log: directory.path().join("log"),
            port,
            password: Some(password.clone()),
            lifetime: Lifetime::DiesWithUs(DeathSignal::Quit),
            settings: vec![("max_connections".to_owned(), "300".to_owned())],
        };
        let installations = PostgresInstallations::discover(&[]).await;
        let running = EmbeddedPostgres::start(installations.newest()?, &account, options)
            .await
            .context("start PostgreSQL")?;
        let id = ServerId::new();
        let authority = CertificateAuthority::generate(&SystemClock)?;
        let identity = authority.issue_for_server(id, &[], &SystemClock)?;
        for (file, content) in [
            ("server.crt", identity.certificate_pem.as_str()),
            ("server.key", identity.key_pem.expose()),
        ] {
            let path = running.data_directory().join(file);
            fs::write(&path, content).context("write the certificate")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            account.give(&path)?;
        }
        let server = Self {
            port,
            password,
            ca_pem: authority.certificate_pem().to_owned(),
            name: server_name(id),
            running,
            _directory: directory,
        };
        let admin = server.connect("postgres").await?;
        admin.run("alter system set ssl = on").await?;
        admin.run("select pg_reload_conf()").await?;
        Ok(server)
    }

    /// A connection of the superuser, without TLS.
    pub(super) async fn connect(&self, database: &str) -> anyhow::Result<Admin> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let (client, connection) = Config::new()
            .user(PROBER_ROLE)
            .password(self.password.expose())
            .dbname(database)
            .connect_raw(stream, NoTls)
            .await
            .context("connect to PostgreSQL")?;
        let mut driving = JoinSet::new();
        driving.spawn(async move { drop(connection.await) });
        Ok(Admin {
            client,
            _driving: driving,
        })
    }

    /// Its connection URL, for a database.
    pub(super) fn url(&self, database: &str) -> Secret {
        self.running.url(database)
    }

    /// Ids of all its processes.
    pub(super) fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let processes = processes_in(self.running.data_directory())?;
        Ok(processes.iter().map(RunningProcess::pid).collect())
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.running.stop().await.context("stop PostgreSQL")
    }
}

/// A connection of the superuser.
pub(super) struct Admin {
    client: Client,
    _driving: JoinSet<()>,
}

impl Admin {
    /// Runs statements.
    pub(super) async fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.client
            .batch_execute(sql)
            .await
            .with_context(|| format!("run {sql:?}"))
    }
}
