//! A Redis of the scenario's own.

use anyhow::Context as _;
use redis::FromRedisValue;
use shared::process::{DeathSignal, EmbeddedRedis, EmbeddedRedisOptions, Lifetime, free_port};
use tempfile::TempDir;

/// A running Redis without persistence, on a free port; it ends with us.
pub(crate) struct RedisProcess {
    server: EmbeddedRedis,
    port: u16,
    _directory: TempDir,
}

impl RedisProcess {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for Redis")?;
        let port = free_port()?;
        let options = EmbeddedRedisOptions {
            directory: directory.path().join("redis"),
            log: directory.path().join("redis.log"),
            port,
            password: None,
            lifetime: Lifetime::DiesWithUs(DeathSignal::Kill),
            settings: Vec::new(),
        };
        let server = EmbeddedRedis::start(options)
            .await
            .context("start redis-server")?;
        Ok(Self {
            server,
            port,
            _directory: directory,
        })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.server.stop().await.context("stop redis-server")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.process().pid()
    }

    /// Runs one command on a connection of its own.
    pub(crate) async fn command<T: FromRedisValue>(&self, words: &[&str]) -> anyhow::Result<T> {
        let mut connection = redis::Client::open(self.url())?
            .get_multiplexed_async_connection()
            .await?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command
            .query_async(&mut connection)
            .await
            .with_context(|| format!("run {words:?}"))
    }

    /// Bytes that the data and its overhead take.
    pub(crate) async fn used_memory(&self) -> anyhow::Result<u64> {
        self.info("memory", "used_memory")
            .await?
            .parse()
            .context("read used_memory")
    }

    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        self.info("server", "redis_version").await
    }

    async fn info(&self, section: &str, field: &str) -> anyhow::Result<String> {
        let info: String = self.command(&["INFO", section]).await?;
        info.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| *key == field)
            .map(|(_, value)| value.trim().to_owned())
            .with_context(|| format!("find {field} in INFO"))
    }
}
