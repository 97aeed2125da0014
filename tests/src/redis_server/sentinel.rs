//! A Sentinel that watches one master and decides alone.

use std::fs;
use std::process::Child;

use anyhow::{Context as _, bail};
use redis::FromRedisValue;
use tempfile::TempDir;

use super::{PORT_ATTEMPTS, RedisServer, command, free_port, spawn_words};

/// A running `redis-server --sentinel`.
#[derive(Debug)]
pub struct RedisSentinel {
    child: Child,
    port: u16,
    master: String,
    _directory: TempDir,
}

impl RedisSentinel {
    /// Starts a Sentinel that watches `server` under the name `master`, and calls it dead after
    /// 2 s of silence.
    pub async fn start(server: &RedisServer, master: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for Sentinel")?;
        let file = directory.path().join("sentinel.conf");
        let file_name = file.to_str().context("write the directory as text")?;
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            let lines = [
                format!("dir {}", directory.path().display()),
                format!("sentinel monitor {master} 127.0.0.1 {} 1", server.port()),
                format!("sentinel down-after-milliseconds {master} 2000"),
                format!("sentinel failover-timeout {master} 2000"),
            ];
            fs::write(&file, lines.join("\n")).context("write the configuration of Sentinel")?;
            if let Some(child) = spawn_words(port, &[file_name, "--sentinel"]).await? {
                let master = master.to_owned();
                return Ok(Self {
                    child,
                    port,
                    master,
                    _directory: directory,
                });
            }
        }
        bail!("Sentinel did not get a port in {PORT_ATTEMPTS} attempts");
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs `SENTINEL <word> <master>`.
    pub async fn ask<T: FromRedisValue>(&self, word: &str) -> anyhow::Result<T> {
        command(self.port, &["SENTINEL", word, &self.master]).await
    }

    /// The port of the server that it calls the master.
    pub async fn master_port(&self) -> anyhow::Result<u16> {
        let (_, port): (String, String) = self.ask("GET-MASTER-ADDR-BY-NAME").await?;
        port.parse().context("read the port of the master")
    }

    /// How many replicas it knows that it could promote.
    pub async fn replicas_ready(&self) -> anyhow::Result<usize> {
        let replicas: Vec<std::collections::HashMap<String, String>> = self.ask("REPLICAS").await?;
        let ready = |replica: &&std::collections::HashMap<String, String>| {
            replica.get("flags").is_some_and(|flags| flags == "slave")
                && replica
                    .get("master-link-status")
                    .is_some_and(|status| status == "ok")
        };
        Ok(replicas.iter().filter(ready).count())
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
