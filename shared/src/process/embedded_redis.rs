//! A Redis of our own on 127.0.0.1: the queue under `ringmaster up` and in load tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Account, EndStep, Launched, Lifetime, ProcessError, Program, Signal, end_all_in,
    until_tcp_answers,
};
use crate::secret::Secret;

/// Longest time from start to the first answer.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// SIGTERM makes Redis save, if it is told to persist, and end.
const END: &[EndStep] = &[
    EndStep {
        to_all: true,
        signal: Signal::TERM,
        patience: Duration::from_secs(15),
    },
    EndStep {
        to_all: true,
        signal: Signal::KILL,
        patience: Duration::from_secs(10),
    },
];

/// Where and how an embedded Redis runs.
#[derive(Debug, Clone)]
pub struct EmbeddedRedisOptions {
    /// Its working directory: configuration and, if it persists, data. Made if absent.
    pub directory: PathBuf,
    /// File its log is appended to.
    pub log: PathBuf,
    /// TCP port on 127.0.0.1.
    pub port: u16,
    /// Password clients must give; `None` lets everybody on this machine in.
    pub password: Option<Secret>,
    /// What happens to it when we end.
    pub lifetime: Lifetime,
    /// Further lines of its configuration, for example `appendonly yes`. Without any, nothing is
    /// written to disk.
    pub settings: Vec<String>,
}

/// A running embedded Redis. Dropping this leaves it running.
#[derive(Debug)]
pub struct EmbeddedRedis {
    options: EmbeddedRedisOptions,
    child: Launched,
}

impl EmbeddedRedis {
    /// Starts `redis-server`. One that is left over from an earlier run in the same directory is
    /// ended first.
    pub async fn start(options: EmbeddedRedisOptions) -> Result<Self, ProcessError> {
        let account = Account::current();
        account.make_private_directory(&options.directory)?;
        end_all_in(&options.directory, END).await?;
        let configuration = options.directory.join("redis.conf");
        fs::write(&configuration, render(&options))
            .map_err(ProcessError::file("write", &configuration))?;
        fs::set_permissions(&configuration, fs::Permissions::from_mode(0o600))
            .map_err(ProcessError::file("protect", &configuration))?;
        let mut child = Program::new("redis-server", &account)
            .arg("redis.conf")
            .directory(&options.directory)
            .launch(options.lifetime, &options.log)
            .await?;
        until_tcp_answers(&mut child, options.port, START_PATIENCE).await?;
        until_loaded(&mut child, options.port).await?;
        Ok(Self { options, child })
    }

    /// Its process.
    pub fn process(&self) -> &super::RunningProcess {
        self.child.process()
    }

    /// Its working directory.
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// Connection URL.
    pub fn url(&self) -> Secret {
        let password = match &self.options.password {
            Some(password) => format!(":{}@", password.expose()),
            None => String::new(),
        };
        Secret::new(format!("redis://{password}127.0.0.1:{}", self.options.port))
    }

    /// Ends it and returns when it is gone.
    pub async fn stop(self) -> Result<(), ProcessError> {
        end_all_in(&self.options.directory, END).await
    }
}

fn render(options: &EmbeddedRedisOptions) -> String {
    let mut lines = vec![
        "bind 127.0.0.1".to_owned(),
        format!("port {}", options.port),
        "daemonize no".to_owned(),
        "save \"\"".to_owned(),
        // The queue keeps few leases at a time; as packed lists they are searched from the start.
        // Measured with 100,000 members: a fifth more turns a second.
        "zset-max-listpack-entries 0".to_owned(),
    ];
    if let Some(password) = &options.password {
        lines.push(format!("requirepass {}", password.expose()));
    }
    lines.extend(options.settings.iter().cloned());
    lines.join("\n") + "\n"
}

/// Waits while Redis answers that it is loading its data.
async fn until_loaded(child: &mut Launched, port: u16) -> Result<(), ProcessError> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let answer = timeout(Duration::from_secs(5), ping(port)).await;
        if let Ok(Ok(answer)) = answer
            && (answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
        {
            return Ok(());
        }
        child.early_end()?;
        if Instant::now() >= deadline {
            return Err(child.not_ready(START_PATIENCE));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
