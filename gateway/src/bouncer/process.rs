//! One `PgBouncer` process: started, taken over from a former gateway, ended.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::process::{
    Account, DeathSignal, EndStep, Launched, Lifetime, ProcessError, Program, RunningProcess,
    Signal, end_all_in, processes_in, tail_of,
};
use tokio::time::{Instant, sleep};

use super::console::Console;
use super::listening::listens;

/// Longest time from start to the first answer of its console.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// SIGTERM ends it at once, and cuts its clients off.
const END: &[EndStep] = &[
    EndStep {
        to_all: true,
        signal: Signal::TERM,
        patience: Duration::from_secs(5),
    },
    EndStep {
        to_all: true,
        signal: Signal::KILL,
        patience: Duration::from_secs(5),
    },
];

/// A running process.
#[derive(Debug)]
pub(crate) enum Running {
    /// We started it.
    Child(Box<Launched>),
    /// A former gateway did.
    Adopted(RunningProcess),
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Child(child) => child.pid(),
            Self::Adopted(process) => process.pid(),
        }
    }

    /// Returns when it has ended. Safe to cancel.
    pub(crate) async fn ended(&mut self) -> Result<(), ProcessError> {
        match self {
            Self::Child(child) => child.wait().await.map(drop),
            Self::Adopted(process) => process.ended().await,
        }
    }
}

/// How a process is started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub program: PathBuf,
    pub account: Account,
    pub directory: PathBuf,
    pub log: PathBuf,
    pub lifetime: Lifetime,
}

impl Start {
    /// What a former gateway may have left. Others that work in the directory are not meant, such as a
    /// shell of somebody who looks around there.
    pub(crate) fn left(&self) -> Result<Vec<RunningProcess>, ProcessError> {
        let mut found = processes_in(&self.directory)?;
        found.retain(|process| is_bouncer(process.pid()));
        Ok(found)
    }

    /// Starts it, and returns when its console answers and it listens at `place`. One that is left over
    /// is ended.
    pub(crate) async fn start(
        &self,
        place: (IpAddr, u16),
        console: impl Fn(u32) -> Console,
    ) -> Result<Running, ProcessError> {
        self.end().await?;
        let mut child = Program::new(&self.program, &self.account)
            .arg(super::ini::INI)
            .directory(&self.directory)
            .launch(self.lifetime, &self.log)
            .await?;
        let deadline = Instant::now() + START_PATIENCE;
        let mut console = console(child.pid());
        loop {
            tokio::select! {
                ended = child.wait() => {
                    let outcome = ended?.to_string();
                    return Err(self.failed(outcome));
                }
                answered = console.ping() => match answered {
                    Ok(()) if listens(child.pid(), place) => {
                        return Ok(Running::Child(Box::new(child)));
                    }
                    Ok(()) => {
                        self.end().await?;
                        let (address, port) = place;
                        return Err(self.failed(format!("no socket at {address}:{port}")));
                    }
                    Err(error) => tracing::debug!(%error, "PgBouncer is not ready yet"),
                },
            }
            if Instant::now() >= deadline {
                self.end().await?;
                return Err(self.failed(format!("no answer within {START_PATIENCE:?}")));
            }
            sleep(LOOK).await;
        }
    }

    /// Ends every process of the directory.
    pub(crate) async fn end(&self) -> Result<(), ProcessError> {
        end_all_in(&self.directory, END).await
    }

    fn failed(&self, outcome: String) -> ProcessError {
        ProcessError::Failed {
            program: self.program.display().to_string(),
            outcome,
            output: tail_of(&self.log),
        }
    }
}

/// What happens to a process when this one ends.
pub(crate) const fn lifetime(die_together: bool) -> Lifetime {
    if die_together {
        Lifetime::DiesWithUs(DeathSignal::Kill)
    } else {
        Lifetime::Outlives
    }
}

fn is_bouncer(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim() == "pgbouncer"
}

/// Where the socket of a process is: its working directory, by a path that is short.
pub(crate) fn sockets_of(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("cwd")
}
