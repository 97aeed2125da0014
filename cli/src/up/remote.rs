//! An `up` that runs in another process: started in the background, looked at, told to stop.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use shared::process::{Account, Lifetime, Program, RunningProcess, Signal};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::child::readiness;
use super::directory::{nothing_here, write_private};
use super::leftovers::count_agents;
use super::lock::holder;
use super::state::{Ports, loopback};
use super::{Directory, UpOptions};
use crate::failure::{Failure, FailureKind};
use crate::progress::Progress;
use crate::screen::note;

/// Longest time from the order to stop to the end: databases write their checkpoints.
const STOP_PATIENCE: Duration = Duration::from_mins(5);

/// Longest time to find out whether something listens.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// File that holds the process id of an `up` that is ready.
const READY: &str = "ready";

/// Notes that everything is up.
pub(super) fn remember_ready(directory: &Directory) -> Result<(), Failure> {
    write_private(&directory.join(READY), &std::process::id().to_string())
}

/// Notes that not everything is up.
pub(super) fn forget_ready(directory: &Directory) -> Result<(), Failure> {
    match fs::remove_file(directory.join(READY)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::during("remove the mark of a ready system")(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_ready(directory: &Directory, pid: u32) -> bool {
    fs::read_to_string(directory.join(READY)).is_ok_and(|text| text.trim() == pid.to_string())
}

/// Starts `up` in the background and returns when it is ready. What it tells meanwhile is shown,
/// and kept in `log/up.log`.
///
/// # Errors
/// [`Failure`] if another `up` runs there, or if it ends before it is ready.
pub async fn detach(options: &UpOptions) -> Result<(), Failure> {
    let account = Account::for_postgres()?;
    let directory = Directory::open_or_create(&options.directory, &account)?;
    if let Some(process) = holder(&directory) {
        let shown = directory.shown().display();
        let message = format!(
            "ringmaster up (process {}) already runs in {shown}",
            process.pid()
        );
        return Err(Failure::new(FailureKind::Conflict, message)
            .advise("see it with: ringmaster status; stop it with: ringmaster down"));
    }
    let logs = directory.join("log");
    fs::create_dir_all(&logs).map_err(Failure::during(format!("make {}", logs.display())))?;
    let log = directory.log("up");
    fs::write(&log, "").map_err(Failure::during(format!("empty {}", log.display())))?;

    let own = std::env::current_exe().map_err(Failure::during("find our own program"))?;
    let mut program = Program::new(own, &Account::current())
        .arg("up")
        .arg("--directory")
        .arg(directory.shown())
        .args(["--log", &options.log])
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .directory(std::env::current_dir().unwrap_or_else(|_| "/".into()));
    if let Some(port) = options.port {
        program = program.args(["--port", &port.to_string()]);
    }
    let launched = program.launch(Lifetime::Outlives, &log).await?;
    relay_until_ready(&directory, launched.process(), &log).await
}

async fn relay_until_ready(
    directory: &Directory,
    process: &RunningProcess,
    log: &Path,
) -> Result<(), Failure> {
    let mut shown = 0;
    loop {
        let ended = timeout(LOOK, process.ended()).await.is_ok();
        let ready = is_ready(directory, process.pid());
        shown = relay(log, shown)?;
        if ready {
            return Ok(());
        }
        if ended {
            let log = log.display();
            return Err(Failure::new(
                FailureKind::Failed,
                "ringmaster up ended before it was ready",
            )
            .advise(format!("what it told is above, and in {log}")));
        }
    }
}

/// Shows what a log has gained since `from`, and gives its new length.
fn relay(log: &Path, from: u64) -> Result<u64, Failure> {
    let read = || -> std::io::Result<(u64, String)> {
        let mut file = fs::File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        let gained = u64::try_from(whole).unwrap_or_default();
        let text = bytes.get(..whole).unwrap_or_default();
        Ok((
            from + gained,
            String::from_utf8_lossy(text)
                .trim_end_matches('\n')
                .to_owned(),
        ))
    };
    let (length, text) = read().map_err(Failure::during(format!("read {}", log.display())))?;
    if length > from {
        note(text);
    }
    Ok(length)
}

/// Tells the `up` of a directory to stop and returns when it has.
///
/// # Errors
/// [`FailureKind::Unreachable`] if none runs there, [`FailureKind::TimedOut`] if it does not end.
pub async fn down(path: &Path) -> Result<(), Failure> {
    let directory = Directory::open(path)?;
    let process = holder(&directory).ok_or_else(|| nothing_here(directory.shown()))?;
    let progress = Progress::begin("stopping ringmaster");
    process.signal(Signal::TERM)?;
    if let Ok(ended) = timeout(STOP_PATIENCE, process.ended()).await {
        ended?;
        progress.done("everything is stopped; the data stays");
        return Ok(());
    }
    progress.given_up();
    let message = format!(
        "process {} did not stop within {STOP_PATIENCE:?}",
        process.pid()
    );
    Err(Failure::new(FailureKind::TimedOut, message)
        .advise(format!("see {}", directory.log("up").display())))
}

/// What runs, and whether it is ready.
#[derive(Debug, Serialize)]
pub struct StatusReport {
    /// The directory.
    pub directory: String,
    /// Process id of `up`.
    pub pid: u32,
    /// Whether everything is ready.
    pub ready: bool,
    /// Agents that run: one for each server.
    pub agents: usize,
    /// Each process that `up` keeps running.
    pub parts: Vec<PartStatus>,
}

/// One process that `up` keeps running.
#[derive(Debug, Serialize)]
pub struct PartStatus {
    /// Its name.
    pub name: &'static str,
    /// Where it listens.
    pub address: String,
    /// `ready`, or what is in the way.
    pub state: String,
}

/// Looks at the `up` of a directory.
///
/// # Errors
/// [`FailureKind::Unreachable`] if none runs there.
pub async fn status(path: &Path) -> Result<StatusReport, Failure> {
    let directory = Directory::open(path)?;
    let process = holder(&directory).ok_or_else(|| nothing_here(directory.shown()))?;
    let ports = Ports::remembered(&directory);
    let part = |name, port, state: Result<(), String>| PartStatus {
        name,
        address: loopback(port).to_string(),
        state: state.err().unwrap_or_else(|| "ready".to_owned()),
    };
    let parts = vec![
        part(
            "control database",
            ports.postgres,
            listens(ports.postgres).await,
        ),
        part("queue", ports.redis, listens(ports.redis).await),
        part(
            "archive",
            ports.object_store,
            readiness(loopback(ports.object_store)).await,
        ),
        part("API", ports.api, readiness(loopback(ports.api)).await),
        part(
            "gateway",
            ports.gateway,
            readiness(loopback(ports.gateway)).await,
        ),
        part(
            "worker",
            ports.worker,
            readiness(loopback(ports.worker)).await,
        ),
    ];
    Ok(StatusReport {
        directory: directory.shown().display().to_string(),
        pid: process.pid(),
        ready: parts.iter().all(|part| part.state == "ready"),
        agents: count_agents(&directory.servers()),
        parts,
    })
}

async fn listens(port: u16) -> Result<(), String> {
    match timeout(CONNECT_PATIENCE, TcpStream::connect(loopback(port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err("does not answer".to_owned()),
        Err(_) => Err(format!("no answer within {CONNECT_PATIENCE:?}")),
    }
}
