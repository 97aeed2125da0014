//! Our own programs, which lie beside the one that runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use shared::process::{Account, DeathSignal, Launched, Lifetime, Program, Signal, tail_of};
use tokio::time::{Instant, sleep, timeout};

use super::supervisor::Service;
use crate::failure::{Failure, FailureKind};

/// Longest time from start to ready.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// Longest time from SIGTERM to the end: a worker finishes the turns it is in the middle of.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// Longest time for one answer to "are you ready?".
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(30);

/// One of our programs, started with its configuration in the environment.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    program: Program,
    log: PathBuf,
    ready_at: SocketAddr,
    running: Option<Launched>,
}

impl Child {
    /// The program `name` with `environment`; it answers `/readyz` at `ready_at`.
    pub(super) fn new(
        name: &'static str,
        environment: &[(&str, String)],
        log: PathBuf,
        ready_at: SocketAddr,
    ) -> Result<Self, Failure> {
        let mut program = Program::new(sibling(name)?, &Account::current());
        for (variable, value) in environment {
            program = program.env(variable, value);
        }
        Ok(Self {
            name,
            program,
            log,
            ready_at,
            running: None,
        })
    }

    fn failed(&self, what: &str) -> Failure {
        let (name, log) = (self.name, self.log.display());
        Failure::new(
            FailureKind::Failed,
            format!("{name} {what}: {}", tail_of(&self.log)),
        )
        .advise(format!("see its log: {log}"))
    }
}

/// The path of another of our programs, in the directory of the one that runs.
pub(super) fn sibling(name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(Failure::during("find our own program"))?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let missing = format!("{} is not there", path.display());
    Err(Failure::new(FailureKind::Failed, missing)
        .advise("build all programs: make up   (or: cargo build --workspace --bins)"))
}

/// Whether the process at `address` says that it is ready; its own words if it is not.
pub(super) async fn readiness(address: SocketAddr) -> Result<(), String> {
    let ask = async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client
            .get(format!("http://{address}/readyz"))
            .send()
            .await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.text().await?))
    };
    match timeout(ANSWER_PATIENCE, ask).await {
        Ok(Ok((status, _))) if status.is_success() => Ok(()),
        Ok(Ok((_, text))) => Err(text.trim().to_owned()),
        Ok(Err(_)) => Err("does not answer".to_owned()),
        Err(_) => Err(format!("no answer within {ANSWER_PATIENCE:?}")),
    }
}

impl Service for Child {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn start(&mut self) -> Result<(), Failure> {
        // A start that was given up may have left one.
        self.stop().await?;
        let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
        let launched = self.program.launch(lifetime, &self.log).await?;
        let process = self.running.insert(launched).process();
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let obstacle = tokio::select! {
                ended = process.ended() => {
                    ended?;
                    self.running = None;
                    return Err(self.failed("ended before it was ready"));
                }
                readiness = readiness(self.ready_at) => match readiness {
                    Ok(()) => return Ok(()),
                    Err(obstacle) => obstacle,
                },
            };
            if Instant::now() >= deadline {
                let late = format!("was not ready within {START_PATIENCE:?} ({obstacle})");
                return Err(self.failed(&late));
            }
            sleep(LOOK).await;
        }
    }

    async fn ended(&mut self) {
        if let Some(running) = &mut self.running {
            match running.wait().await {
                Ok(status) => tracing::warn!(program = self.name, %status, "it ended"),
                Err(error) => tracing::warn!(program = self.name, %error, "it was lost"),
            }
        }
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.process().signal(Signal::TERM)?;
        if timeout(STOP_PATIENCE, running.wait()).await.is_err() {
            running.process().signal(Signal::KILL)?;
            running.wait().await?;
        }
        Ok(())
    }
}
