//! The embedded object store, as a process: the same endpoint for everybody who is measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use shared::archive::store::{Encryption, ObjectStore as _, S3Settings, S3Store};
use shared::process::{
    Account, DeathSignal, Launched, Lifetime, Program, Signal, free_port, run_to_end,
    until_tcp_answers,
};
use shared::secret::Secret;
use tempfile::TempDir;

/// Its only bucket.
pub(crate) const BUCKET: &str = "archive";

/// Whose requests it answers.
pub(crate) const KEY_ID: &str = "loadtest";

/// Longest time until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running object store with nothing in it; it ends with us, and its objects are gone then.
pub(crate) struct Store {
    pub(crate) address: SocketAddr,
    pub(crate) secret: Secret,
    /// A worker's client.
    pub(crate) client: S3Store,
    process: Launched,
    directory: TempDir,
}

impl Store {
    pub(super) async fn start(program: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for the objects")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let secret = Secret::random();
        let started = Program::new(program, &Account::current())
            .arg("--root")
            .arg(directory.path().join("objects"))
            .args(["--listen", &address.to_string(), "--bucket", BUCKET])
            .args(["--access-key-id", KEY_ID])
            .env("RINGMASTER_OBJECT_STORE_SECRET_ACCESS_KEY", secret.expose());
        let log = directory.path().join("log");
        let mut process = started
            .launch(Lifetime::DiesWithUs(DeathSignal::Kill), &log)
            .await?;
        until_tcp_answers(&mut process, address.port(), PATIENCE)
            .await
            .context("wait for the object store")?;
        let client = S3Store::new(S3Settings {
            endpoint: Some(format!("http://{address}")),
            region: "us-east-1".to_owned(),
            bucket: BUCKET.to_owned(),
            prefix: String::new(),
            access_key_id: KEY_ID.to_owned(),
            secret_access_key: secret.clone(),
            path_style: true,
            encryption: Encryption::None,
        });
        client.probe().await.context("probe the object store")?;
        Ok(Self {
            address,
            secret,
            client,
            process,
            directory,
        })
    }

    /// Id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Removes all objects behind its back, so that the disk does not fill; waits until everything
    /// is written that was to be.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let bucket = self.directory.path().join("objects/buckets").join(BUCKET);
        tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
            for entry in std::fs::read_dir(bucket)? {
                let path = entry?.path();
                if path.is_dir() {
                    std::fs::remove_dir_all(path)?;
                } else {
                    std::fs::remove_file(path)?;
                }
            }
            Ok(())
        })
        .await??;
        Self::settle().await
    }

    /// Waits until the disk has written what it was given, so that nobody pays for another's writes.
    pub(crate) async fn settle() -> anyhow::Result<()> {
        run_to_end(&Program::new("sync", &Account::current())).await?;
        Ok(())
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.process.process().signal(Signal::TERM)?;
        self.process.wait().await?;
        Ok(())
    }
}
