//! The instance: from what is there to what the instruction says, one step at a time.
//!
//! [`Instance::run`] is the only one that touches PostgreSQL. It takes no messages: it is woken,
//! reads the newest instruction from the store, looks at the machine, and does the next missing
//! thing. Every step may be cut off at any instant and is safe to do again.

use std::sync::Arc;
use std::time::Duration;

use shared::agent_api::{InstanceRole, InstanceSpec, Phase};
use shared::process::{FAST_END, HARD_END, PostmasterFile};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::agent::Agent;
use crate::catalog;
use crate::live::connect_locally;
use crate::store::Standing;

mod back_off;
mod birth;
mod configuration;
mod ending;
mod following;
mod postmaster;
mod promoting;
mod restoring;

use back_off::BackOff;
use ending::FORCED_END;
use postmaster::Postmaster;
use restoring::Restoring;

/// Time between two looks at a PostgreSQL that starts.
const LOOK: Duration = Duration::from_millis(20);

/// Longest time for all commands of one convergence.
const CATALOG_PATIENCE: Duration = Duration::from_mins(5);

/// What a step came to.
enum Progress {
    /// Something was done: look again at once.
    Again,
    /// Something is under way: look again after this time.
    Wait(Duration),
    /// All is as it shall be, until something happens.
    Settled,
}

/// Brings PostgreSQL to what the instruction says, and keeps it there.
#[derive(Debug)]
pub(super) struct Instance {
    agent: Arc<Agent>,
    /// The running PostgreSQL, as far as we know.
    postmaster: Option<Postmaster>,
    /// Whether we have looked for one that an earlier agent started.
    looked: bool,
    /// Whether PostgreSQL is known to use the configuration files as they are.
    loaded: bool,
    /// Digest of the spec that roles and databases were last compared with, in this PostgreSQL.
    compared: Option<String>,
    starts: BackOff,
    last_start: Option<Instant>,
    failures: BackOff,
    /// The work of a restore that is under way.
    restoring: Restoring,
}

impl Instance {
    pub(super) fn new(agent: Arc<Agent>) -> Self {
        Self {
            agent,
            postmaster: None,
            looked: false,
            loaded: false,
            compared: None,
            starts: BackOff::default(),
            last_start: None,
            failures: BackOff::default(),
            restoring: Restoring::default(),
        }
    }

    /// Goes on until `stop`; then ends PostgreSQL, if it shall not outlive the agent.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let nap = tokio::select! {
                () = stop.cancelled() => break,
                nap = self.turn() => nap,
            };
            let agent = Arc::clone(&self.agent);
            tokio::select! {
                () = stop.cancelled() => break,
                () = agent.wake.notified() => {}
                end = postmaster::end_of(&mut self.postmaster) => self.note_crash(end).await,
                () = nap_for(nap) => {}
            }
        }
        if self.agent.options.die_with_agent
            && let Err(error) = self.stop(FAST_END).await
        {
            tracing::error!(error = format!("{error:#}"), "failed to stop PostgreSQL");
        }
    }

    /// Does one step. Gives how long to wait for the next; none to wait until something happens.
    async fn turn(&mut self) -> Option<Duration> {
        let state = self.agent.store.get();
        let Some(instruction) = &state.instruction else {
            self.agent.board.enter(Phase::Empty);
            return None;
        };
        let spec = &instruction.spec;
        let generation = spec.generation;
        let span = tracing::info_span!("converge", request_id = %spec.request_id, generation);
        let outcome = self
            .step(spec, &instruction.digest)
            .instrument(span.clone())
            .await;
        match outcome {
            Ok(progress) => {
                self.failures.succeeded();
                self.agent.board.show_problem(None);
                match progress {
                    Progress::Again => Some(Duration::ZERO),
                    Progress::Wait(time) => Some(time),
                    Progress::Settled => self.converged(generation).instrument(span).await,
                }
            }
            Err(error) => {
                let _in_span = span.entered();
                self.agent.board.show_problem(Some(format!("{error:#}")));
                Some(self.failures.failed())
            }
        }
    }

    async fn converged(&self, generation: u64) -> Option<Duration> {
        if self.agent.store.get().converged_generation == generation {
            return None;
        }
        let noted = self
            .agent
            .store
            .set(|state| state.converged_generation = generation)
            .await;
        match noted {
            Ok(()) => {
                tracing::info!(generation, "instance is as instructed");
                None
            }
            Err(error) => {
                self.agent
                    .board
                    .show_problem(Some(format!("{:#}", anyhow::Error::from(error))));
                Some(Duration::from_secs(1))
            }
        }
    }

    async fn step(&mut self, spec: &InstanceSpec, digest: &str) -> anyhow::Result<Progress> {
        if matches!(spec.role, InstanceRole::Stopped | InstanceRole::Removed) {
            self.restoring = Restoring::default();
        }
        let standing = self.agent.store.get().standing;
        match spec.role {
            InstanceRole::Leader if standing == Standing::Promotes => {
                self.promote(spec, digest).await
            }
            InstanceRole::Leader => self.lead(spec, digest).await,
            InstanceRole::Follower => self.follow(spec, digest).await,
            InstanceRole::Stopped => {
                self.stop(FAST_END).await?;
                self.agent.board.enter(Phase::Stopped);
                Ok(Progress::Settled)
            }
            InstanceRole::Removed => {
                self.stop(FAST_END).await?;
                self.remove().await?;
                self.agent.board.enter(Phase::Removed);
                Ok(Progress::Settled)
            }
        }
    }

    /// What comes before everything else that runs PostgreSQL. The order matters: what runs under an
    /// old incarnation is stopped before it is asked anything, because it may hang.
    async fn prepare(&mut self, spec: &InstanceSpec) -> anyhow::Result<()> {
        if !self.looked {
            self.look_for_running().await?;
        }
        let state = self.agent.store.get();
        if self.postmaster.is_some() && state.started_incarnation < spec.incarnation {
            tracing::info!(
                incarnation = spec.incarnation,
                "PostgreSQL is restarted as asked"
            );
            self.stop(FORCED_END).await?;
        }
        // Two may follow, but only one lead.
        let is_harmless = spec.role == InstanceRole::Follower;
        let is_confirmed = is_harmless || state.confirmed_boot_id == self.agent.boot_id;
        if self.postmaster.is_none() && !is_confirmed {
            self.stop(HARD_END).await?;
            self.agent.board.enter(Phase::Stopped);
            anyhow::bail!("the machine was booted: waiting until the generation is confirmed");
        }
        Ok(())
    }

    async fn lead(&mut self, spec: &InstanceSpec, digest: &str) -> anyhow::Result<Progress> {
        self.prepare(spec).await?;
        let state = self.agent.store.get();
        if let Some(source) = state.restoring() {
            return self.restore((spec, digest), source).await;
        }
        if state.restored.is_some() {
            self.clear_restore()?;
        }
        if !state.born {
            return self.be_born(spec).await;
        }
        if self.postmaster.is_none() {
            return self.start(spec).await;
        }
        if !self.is_ready() {
            self.agent.board.enter(Phase::Starting);
            return Ok(Progress::Wait(LOOK));
        }
        self.show_ready().await?;
        if !self.settle_configuration(spec).await? {
            return Ok(Progress::Again);
        }
        self.settle_catalog(spec, digest).await?;
        Ok(Progress::Settled)
    }

    async fn settle_catalog(&mut self, spec: &InstanceSpec, digest: &str) -> anyhow::Result<()> {
        if self.compared.as_deref() == Some(digest) {
            return Ok(());
        }
        let port = self.postmaster.as_ref().map_or(spec.port, Postmaster::port);
        let state = self.agent.store.get();
        let work = async {
            let mut connection = connect_locally(&self.agent.paths.sockets(), port).await?;
            let mut commands = 0;
            if let Some(source) = state.restoring() {
                commands += catalog::rename(&mut connection, &source.renames).await?;
                commands += catalog::lock_out(&mut connection, spec).await?;
            }
            commands += catalog::reconcile(&mut connection, spec).await?;
            sqlx::Connection::close(connection).await?;
            Ok(commands)
        };
        let commands = tokio::time::timeout(CATALOG_PATIENCE, work)
            .await
            .map_err(|_| anyhow::anyhow!("PostgreSQL does not answer"))?
            .map_err(|error: sqlx::Error| {
                anyhow::anyhow!("failed to settle roles, databases and slots: {error}")
            })?;
        if commands > 0 {
            tracing::info!(commands, "roles, databases and slots are settled");
        }
        self.compared = Some(digest.to_owned());
        Ok(())
    }

    fn forget_postmaster(&mut self) {
        self.postmaster = None;
        self.looked = true;
        self.compared = None;
        self.agent.board.show_running(None);
    }

    /// PostgreSQL ended without being told to.
    async fn note_crash(&mut self, mut end: String) {
        let lived = self
            .postmaster
            .as_ref()
            .map_or(Duration::ZERO, Postmaster::age);
        tracing::warn!(
            error = end,
            lived_ms = lived.as_millis(),
            "PostgreSQL ended by itself"
        );
        self.starts.ended_after(lived);
        self.forget_postmaster();
        self.agent.board.enter(Phase::Starting);
        if self.is_end_of_recovery() {
            return;
        }
        if let Some(limits) = self.limits_of_follower(&end) {
            end = limits;
        }
        self.remember_crash(end).await;
    }

    async fn remember_crash(&self, end: String) {
        let noted = self.agent.store.set(|state| {
            state.crashes += 1;
            state.last_crash = Some(end);
        });
        if let Err(error) = noted.await {
            tracing::error!(
                error = format!("{:#}", anyhow::Error::from(error)),
                "failed to note it"
            );
        }
    }

    /// From now on the status tells of a running PostgreSQL.
    async fn show_ready(&self) -> anyhow::Result<()> {
        if self.agent.board.facts().running.is_none()
            && let Some(file) = PostmasterFile::read(&self.agent.paths.data())
        {
            self.show_running(file.started_at).await?;
        }
        self.agent.board.enter(Phase::Running);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let data = self.agent.paths.data();
        self.postmaster
            .as_ref()
            .is_some_and(|postmaster| postmaster.is_ready(&data))
    }
}

async fn nap_for(nap: Option<Duration>) {
    match nap {
        Some(nap) => sleep(nap).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn ignore_absence(outcome: std::io::Result<()>) -> std::io::Result<()> {
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether a deadline has passed.
fn is_past(deadline: Instant) -> bool {
    Instant::now() >= deadline
}
