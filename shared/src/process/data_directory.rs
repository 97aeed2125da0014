//! All processes that work in a directory: for PostgreSQL, the postmaster and all its children.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{ProcessError, RunningProcess, Signal};

/// One attempt at ending processes.
#[derive(Debug, Clone, Copy)]
pub struct EndStep {
    /// Sent to whom.
    pub to_all: bool,
    /// What is sent.
    pub signal: Signal,
    /// How long it may take until no process is left.
    pub patience: Duration,
}

/// For PostgreSQL: a fast shutdown (sessions are cut, then a checkpoint is written), then an
/// immediate one, then SIGKILL.
pub const FAST_END: &[EndStep] = &[
    step(false, Signal::INT, 60),
    step(false, Signal::QUIT, 10),
    step(true, Signal::KILL, 20),
];

/// For PostgreSQL whose postmaster is gone or does not answer: SIGQUIT, which backends obey
/// without touching data, then SIGKILL.
pub const HARD_END: &[EndStep] = &[step(true, Signal::QUIT, 3), step(true, Signal::KILL, 20)];

const fn step(to_all: bool, signal: Signal, seconds: u64) -> EndStep {
    EndStep {
        to_all,
        signal,
        patience: Duration::from_secs(seconds),
    }
}

/// Every process whose working directory is `directory`; none if the directory does not exist.
///
/// # Errors
/// [`ProcessError::Hidden`] if the system does not tell it of a process that may be one of them.
pub fn processes_in(directory: &Path) -> Result<Vec<RunningProcess>, ProcessError> {
    let identity = match fs::metadata(directory) {
        Ok(metadata) => (metadata.dev(), metadata.ino(), metadata.uid()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ProcessError::file("look at", directory)(error)),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(ProcessError::file("list", "/proc"))? {
        let entry = entry.map_err(ProcessError::file("list", "/proc"))?;
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && works_in(pid, identity)?
            && let Ok(process) = RunningProcess::open(pid)
            // Looked at again, now that the process is held: its number may have been recycled.
            && works_in(pid, identity)?
        {
            found.push(process);
        }
    }
    Ok(found)
}

fn works_in(pid: u32, (device, inode, owner): (u64, u64, u32)) -> Result<bool, ProcessError> {
    match fs::metadata(format!("/proc/{pid}/cwd")) {
        Ok(metadata) => Ok((metadata.dev(), metadata.ino()) == (device, inode)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            if may_be_postgres_of(pid, owner) {
                return Err(ProcessError::Hidden { pid, source: error });
            }
            Ok(false)
        }
        // It ended meanwhile, or it is a zombie, which does nothing any more.
        Err(_) => Ok(false),
    }
}

/// Whether a process that hides its working directory may be one of PostgreSQL's that work in a
/// directory of `owner`. Many others of the same user may hide theirs.
fn may_be_postgres_of(pid: u32, owner: u32) -> bool {
    let user = fs::metadata(format!("/proc/{pid}")).map(|metadata| metadata.uid());
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let is_postgres = matches!(name.trim(), "postgres" | "postmaster" | "initdb");
    is_postgres && user.is_ok_and(|user| user == owner)
}

/// Ends every process that works in `directory`, step by step.
///
/// Returns when two looks in a row have found none. A step that is not `to_all` signals the
/// postmaster only: the process that `postmaster.pid` names, or all if that is unknown.
///
/// # Errors
/// [`ProcessError::NotEnded`] if some outlast all steps (a process in uninterruptible sleep).
pub async fn end_all_in(directory: &Path, steps: &[EndStep]) -> Result<(), ProcessError> {
    let mut left = none_left(directory)?;
    for step in steps {
        if left == 0 {
            return Ok(());
        }
        let deadline = Instant::now() + step.patience;
        let mut signalled = false;
        while left > 0 && Instant::now() < deadline {
            let processes = processes_in(directory)?;
            // SIGKILL is repeated, as new children may have appeared; a shutdown is asked once.
            if !signalled || step.signal == Signal::KILL {
                send(directory, &processes, *step)?;
                signalled = true;
            }
            wait_for_one(&processes, deadline).await;
            left = none_left(directory)?;
        }
    }
    if left == 0 {
        return Ok(());
    }
    Err(ProcessError::NotEnded {
        directory: directory.to_owned(),
        left,
    })
}

/// Looks twice: a process that forks and ends between two entries of one look could be missed.
fn none_left(directory: &Path) -> Result<usize, ProcessError> {
    let first = processes_in(directory)?.len();
    if first > 0 {
        return Ok(first);
    }
    Ok(processes_in(directory)?.len())
}

fn send(directory: &Path, processes: &[RunningProcess], step: EndStep) -> Result<(), ProcessError> {
    let postmaster = super::PostmasterFile::read(directory).map(|file| file.pid);
    let named = |process: &&RunningProcess| Some(process.pid()) == postmaster;
    let only_named = !step.to_all && processes.iter().any(|process| named(&process));
    for process in processes {
        if !only_named || named(&process) {
            process.signal(step.signal)?;
        }
    }
    Ok(())
}

/// Waits for the end of the oldest process at most for a moment, so that late children are seen.
async fn wait_for_one(processes: &[RunningProcess], deadline: Instant) {
    let moment = Instant::now() + Duration::from_millis(50);
    match processes.first() {
        Some(process) => match timeout_at(deadline.min(moment), process.ended()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => sleep(Duration::from_millis(20)).await,
        },
        None => sleep(Duration::from_millis(5)).await,
    }
}
