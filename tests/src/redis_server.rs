//! A Redis of the test's own: on a free port of loopback, in a temporary directory, without
//! persistence, and killed with the test process.

mod sentinel;
mod slow_relay;

pub use sentinel::RedisSentinel;
pub use slow_relay::{SlowRelay, slow_relay};

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use anyhow::{Context as _, bail};
use redis::FromRedisValue;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for a server to answer after its start, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Pause between two looks at a condition that is awaited.
const POLL: Duration = Duration::from_millis(10);

/// Ports tried before a start fails: another process may take a free port first.
const PORT_ATTEMPTS: usize = 10;

/// A running (or killed, and then restartable) `redis-server`.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    directory: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts a server without persistence and waits until it answers.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a server with further arguments, such as `--replicaof`.
    pub async fn start_with(arguments: &[&str]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for Redis")?;
        let arguments: Vec<String> = ["--save", "", "--appendonly", "no"]
            .iter()
            .chain(arguments)
            .map(|&argument| argument.to_owned())
            .collect();
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            if let Some(child) = spawn(port, directory.path(), &arguments).await? {
                return Ok(Self {
                    child,
                    port,
                    directory,
                    arguments,
                });
            }
        }
        bail!("redis-server did not get a port in {PORT_ATTEMPTS} attempts");
    }

    /// The port on 127.0.0.1, the same after each restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for a client.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Where the server keeps its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs one command on a connection of its own, such as `&["CONFIG", "GET", "save"]`.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> anyhow::Result<T> {
        command(self.port, words).await
    }

    /// Empties the server, as an operator's slip would.
    pub async fn flush(&self) -> anyhow::Result<()> {
        self.command(&["FLUSHALL"]).await
    }

    /// Bytes that the server's data take, without its buffers and scripts (`used_memory_dataset`).
    pub async fn data_bytes(&self) -> anyhow::Result<u64> {
        let info: String = self.command(&["INFO", "memory"]).await?;
        info_number(&info, "used_memory_dataset").context("find used_memory_dataset")
    }

    /// Kills the server with SIGKILL: nobody answers on its port until a restart.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill redis-server")?;
        let status = self.child.wait().context("wait for redis-server")?;
        anyhow::ensure!(
            status.signal() == Some(9) || status.code().is_some(),
            "not ended"
        );
        Ok(())
    }

    /// Starts the killed server again on its port, with no data.
    pub async fn restart_empty(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        match std::fs::remove_file(self.dump()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("remove the dump");
            }
            _ => {}
        }
        self.start_again().await
    }

    /// Writes a copy of the present data, for [`Self::restart_from_copy`].
    pub async fn save_copy(&self) -> anyhow::Result<PathBuf> {
        let () = self.command(&["SAVE"]).await?;
        let copy = self.directory.path().join("copy.rdb");
        std::fs::copy(self.dump(), &copy).context("copy the dump")?;
        Ok(copy)
    }

    /// Rolls the server back: kills it and starts it with the data of a copy.
    pub async fn restart_from_copy(&mut self, copy: &Path) -> anyhow::Result<()> {
        self.kill()?;
        std::fs::copy(copy, self.dump()).context("put the copy in place")?;
        self.start_again().await
    }

    /// Stops the process with SIGSTOP: connections stay open, and nothing is answered.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    /// Lets a paused process go on.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    fn dump(&self) -> PathBuf {
        self.directory.path().join("dump.rdb")
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .context("send a signal to redis-server")?;
        anyhow::ensure!(status.success(), "kill -s {name} failed");
        Ok(())
    }

    async fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(self.port, self.directory.path(), &self.arguments)
            .await?
            .context("get the same port again")?;
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs one command on a server of 127.0.0.1, on a connection of its own.
pub async fn command<T: FromRedisValue>(port: u16, words: &[&str]) -> anyhow::Result<T> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
        .query_async(&mut connection)
        .await
        .with_context(|| format!("run {words:?}"))
}

/// The number in a line `name:number` of `INFO`.
fn info_number(info: &str, name: &str) -> Option<u64> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
}

/// A port of 127.0.0.1 that nobody listens on at this moment.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr().context("read the port")?.port())
}

/// Starts a server of data; see [`spawn_words`].
async fn spawn(port: u16, directory: &Path, arguments: &[String]) -> anyhow::Result<Option<Child>> {
    let directory = directory.to_str().context("write the directory as text")?;
    let mut words = vec!["--dir", directory];
    words.extend(arguments.iter().map(String::as_str));
    spawn_words(port, &words).await
}

/// Starts `redis-server` and waits until this very process answers; `None` if it ended, because
/// the port was taken.
async fn spawn_words(port: u16, words: &[&str]) -> anyhow::Result<Option<Child>> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(words)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = spawn_on_a_lasting_thread(command)?;
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        if child.try_wait().context("look at redis-server")?.is_some() {
            return Ok(None);
        }
        let info = timeout(
            POLL * 100,
            self::command::<String>(port, &["INFO", "server"]),
        )
        .await;
        if let Ok(Ok(info)) = info
            && info_number(&info, "process_id") == Some(u64::from(child.id()))
        {
            return Ok(Some(child));
        }
        if Instant::now() > deadline {
            drop(child.kill());
            drop(child.wait());
            bail!("redis-server on port {port} did not answer within {START_DEADLINE:?}");
        }
        sleep(POLL).await;
    }
}

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The parent-death signal comes when the *thread* ends that spawned the child, and the threads of
/// a runtime come and go; this one lives as long as the process.
static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, answer) in inbox {
            drop(answer.send(command.spawn()));
        }
    });
    orders
});

/// Spawns from a thread that ends with the process, as `setpriv --pdeathsig` needs it.
pub fn spawn_on_a_lasting_thread(command: Command) -> anyhow::Result<Child> {
    let (answer, child) = mpsc::channel();
    SPAWNER
        .send((command, answer))
        .ok()
        .context("reach the spawning thread")?;
    child
        .recv()
        .context("hear from the spawning thread")?
        .context("spawn a server (is it installed?)")
}
