//! The control database and the queue: a PostgreSQL and a Redis of our own.

use std::time::Duration;

use shared::process::{
    Account, DeathSignal, EmbeddedPostgres, EmbeddedPostgresOptions, EmbeddedRedis,
    EmbeddedRedisOptions, Lifetime, PostgresBinaries, RunningProcess,
};
use shared::secret::Secret;

use super::Directory;
use super::supervisor::Service;
use crate::failure::Failure;

/// Database of the control plane.
const DATABASE: &str = "ringmaster";

/// Pause between two looks at a process that cannot be watched.
const UNWATCHED: Duration = Duration::from_secs(1);

/// The control database.
#[derive(Debug)]
pub(super) struct ControlPostgres {
    binaries: PostgresBinaries,
    account: Account,
    options: EmbeddedPostgresOptions,
    running: Option<EmbeddedPostgres>,
}

impl ControlPostgres {
    /// The control database in `directory`, on `port`.
    pub(super) fn new(
        directory: &Directory,
        binaries: PostgresBinaries,
        account: Account,
        port: u16,
    ) -> Result<Self, Failure> {
        let options = EmbeddedPostgresOptions {
            data_directory: directory.postgres(),
            log: directory.log("postgres"),
            port,
            password: Some(directory.lasting_secret("control-database.password", Secret::random)?),
            lifetime: Lifetime::DiesWithUs(DeathSignal::Quit),
            settings: Vec::new(),
        };
        Ok(Self {
            binaries,
            account,
            options,
            running: None,
        })
    }

    /// Connection URL of the control database.
    pub(super) fn url(&self) -> Secret {
        let password = self.options.password.as_ref().map_or("", Secret::expose);
        let port = self.options.port;
        Secret::new(format!(
            "postgres://ringmaster:{password}@127.0.0.1:{port}/{DATABASE}?sslmode=disable"
        ))
    }
}

impl Service for ControlPostgres {
    fn name(&self) -> &'static str {
        "control database"
    }

    async fn start(&mut self) -> Result<(), Failure> {
        // One that ended stays a zombie until it is let go, and PostgreSQL takes it for running.
        self.running = None;
        let options = self.options.clone();
        let running = EmbeddedPostgres::start(&self.binaries, &self.account, options).await?;
        running
            .ensure_database(DATABASE)
            .await
            .map_err(Failure::during("create the control database"))?;
        self.running = Some(running);
        Ok(())
    }

    async fn ended(&mut self) {
        if let Some(running) = &self.running {
            until_ended(running.process()).await;
        }
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        match self.running.take() {
            Some(running) => Ok(running.stop().await?),
            None => Ok(()),
        }
    }
}

/// The queue. It keeps nothing on disk: what it holds is made again from the control database.
#[derive(Debug)]
pub(super) struct Redis {
    options: EmbeddedRedisOptions,
    running: Option<EmbeddedRedis>,
}

impl Redis {
    /// The queue in `directory`, on `port`.
    pub(super) fn new(directory: &Directory, port: u16) -> Result<Self, Failure> {
        let options = EmbeddedRedisOptions {
            directory: directory.redis(),
            log: directory.log("redis"),
            port,
            password: Some(directory.secret("queue.password", Secret::random)?),
            lifetime: Lifetime::DiesWithUs(DeathSignal::Kill),
            settings: Vec::new(),
        };
        Ok(Self {
            options,
            running: None,
        })
    }

    /// Connection URL.
    pub(super) fn url(&self) -> Secret {
        let password = self.options.password.as_ref().map_or("", Secret::expose);
        Secret::new(format!(
            "redis://:{password}@127.0.0.1:{}",
            self.options.port
        ))
    }
}

impl Service for Redis {
    fn name(&self) -> &'static str {
        "queue"
    }

    async fn start(&mut self) -> Result<(), Failure> {
        self.running = Some(EmbeddedRedis::start(self.options.clone()).await?);
        Ok(())
    }

    async fn ended(&mut self) {
        if let Some(running) = &self.running {
            until_ended(running.process()).await;
        }
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        match self.running.take() {
            Some(running) => Ok(running.stop().await?),
            None => Ok(()),
        }
    }
}

async fn until_ended(process: &RunningProcess) {
    if let Err(error) = process.ended().await {
        tracing::warn!(%error, "a process cannot be watched");
        tokio::time::sleep(UNWATCHED).await;
    }
}
