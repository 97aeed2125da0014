//! What all processes of a control plane share: a control database, a Redis, and the key of secrets.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::clock::{Clock as _, SystemClock};
use shared::db::{self, ConnectOptions, tokens};
use shared::domain::TokenScope;
use shared::ids::TokenId;
use shared::process::{
    Account, DeathSignal, EmbeddedPostgres, EmbeddedPostgresOptions, Launched, Lifetime,
    PostgresInstallations, Program, free_port, processes_in,
};
use shared::secret::{Secret, Vault};
use sqlx::PgPool;
use tempfile::TempDir;

use crate::archiving::{BUCKET, KEY_ID};
use crate::cpu;
use crate::redis_process::RedisProcess;

/// Name of the control database.
const DATABASE: &str = "ringmaster";

/// A control plane without processes of ours.
pub(crate) struct Control {
    pub(crate) pool: PgPool,
    pub(crate) redis: RedisProcess,
    /// Opens stored secrets.
    pub(crate) vault: Vault,
    postgres: EmbeddedPostgres,
    /// Data of the control database.
    _data: TempDir,
    /// The key, logs, and all servers.
    directory: TempDir,
}

impl Control {
    /// An empty control database and an empty Redis.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let (data, postgres) = start_postgres().await?;
        postgres.ensure_database(DATABASE).await?;
        let connect = ConnectOptions::of("loadtest");
        let pool = db::connect(&postgres.url(DATABASE), &connect).await?;
        db::migrate(&pool).await?;
        let directory = tempfile::tempdir().context("make a directory for a control plane")?;
        // The user that PostgreSQL runs as must be able to pass it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))?;
        let key = Vault::random_key();
        let file = directory.path().join("key");
        fs::write(&file, key.expose()).context("write the encryption key")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            pool,
            redis: RedisProcess::start().await?,
            vault: Vault::from_base64(&key)?,
            postgres,
            _data: data,
            directory,
        })
    }

    /// Directory of all servers.
    pub(crate) fn servers(&self) -> PathBuf {
        self.directory.path().join("servers")
    }

    /// Starts a process of the control plane, with these variables beside those that all have. It
    /// ends with us.
    pub(crate) async fn launch(
        &self,
        name: &str,
        program: &Path,
        variables: &[(String, String)],
    ) -> anyhow::Result<Launched> {
        let mut program = Program::new(program, &Account::current())
            .env(
                "RINGMASTER_DATABASE_URL",
                self.postgres.url(DATABASE).expose(),
            )
            .env("RINGMASTER_REDIS_URL", self.redis.url())
            .env(
                "RINGMASTER_ENCRYPTION_KEY_FILE",
                self.directory.path().join("key"),
            )
            .env("RINGMASTER_LOCAL_ROOT", self.servers())
            .env("RINGMASTER_SUPERVISOR_PID", std::process::id().to_string())
            // A restore on a server of its own, at any time, is not what is measured.
            .env("RINGMASTER_PROOFS_AT_ONCE", "0")
            // What is measured is not the gateway.
            .env("RINGMASTER_ENDPOINT", "direct");
        for (name, value) in variables {
            program = program.env(name, value);
        }
        let log = self.directory.path().join(format!("{name}.log"));
        let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
        Ok(program.launch(lifetime, &log).await?)
    }

    /// A new token that may do everything, for a day.
    pub(crate) async fn token(&self) -> anyhow::Result<Secret> {
        let (secret, now) = (Secret::random(), SystemClock.now());
        let new = tokens::NewToken {
            id: TokenId::new(),
            name: "loadtest",
            hash: secret.sha256(),
            scope: TokenScope::Admin,
            now,
            expires_at: now + Duration::from_hours(24),
        };
        ensure!(
            tokens::create(&self.pool, &new).await?,
            "the token is not new"
        );
        Ok(secret)
    }

    /// Processor time of the control database so far, of all processes that run.
    pub(crate) fn postgres_time(&self) -> anyhow::Result<Duration> {
        let mut time = Duration::ZERO;
        for process in processes_in(self.postgres.data_directory())? {
            // One may end while we read.
            time += cpu::time_of(process.pid()).unwrap_or_default();
        }
        Ok(time)
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.pool.close().await;
        self.redis.stop().await?;
        self.postgres.stop().await.context("stop PostgreSQL")
    }
}

/// What a worker is told of its archive.
pub(crate) fn archive_variables(address: SocketAddr, secret: &Secret) -> Vec<(String, String)> {
    [
        ("BUCKET", BUCKET.to_owned()),
        ("ENDPOINT", format!("http://{address}")),
        ("PATH_STYLE", "true".to_owned()),
        ("ENCRYPTION", "none".to_owned()),
        ("ACCESS_KEY_ID", KEY_ID.to_owned()),
        ("SECRET_ACCESS_KEY", secret.expose().to_owned()),
    ]
    .map(|(name, value)| (format!("RINGMASTER_ARCHIVE_{name}"), value))
    .to_vec()
}

async fn start_postgres() -> anyhow::Result<(TempDir, EmbeddedPostgres)> {
    let installations = PostgresInstallations::discover(&[]).await;
    let account = Account::for_postgres()?;
    let data = tempfile::tempdir().context("make a directory for the control database")?;
    account.give(data.path())?;
    let options = EmbeddedPostgresOptions {
        data_directory: data.path().join("data"),
        log: data.path().join("log"),
        port: free_port()?,
        password: None,
        lifetime: Lifetime::DiesWithUs(DeathSignal::Quit),
        settings: Vec::new(),
    };
    let postgres = EmbeddedPostgres::start(installations.newest()?, &account, options)
        .await
        .context("start the control database")?;
    Ok((data, postgres))
}
