//! Checks of a restored instance that nobody uses: whether what came out of the archive is sound.
//!
//! ```text
//!  order ──▶ a session in each database ──▶ pg_amcheck over all of them ──▶ report
//! ```
//!
//! Guarantees:
//! - Only an instance that was restored and has no database in its spec is checked: an extension is
//!   installed for that.
//! - Asked again for the same proof, nothing is begun again. An agent that is killed has forgotten a
//!   check; it is begun anew, which does no harm.
//! - The report is bounded, whatever is found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::agent_api::check::{CheckOrder, CheckPhase, CheckStatus};
use shared::agent_api::{InstanceRole, InstanceSpec, Refusal, RefusalCode};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::agent::Agent;
use crate::held::is_held;

mod output;
mod work;

use work::Work;

/// The check in progress, or the last one.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    current: Mutex<Option<Current>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Current {
    status: Arc<Progress>,
    /// Ends the work when it is dropped.
    _ending: DropGuard,
}

/// What the status shows of a check.
#[derive(Debug)]
struct Progress(Mutex<CheckStatus>);

impl Progress {
    fn lock(&self) -> MutexGuard<'_, CheckStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checks {
    /// Where the newest check stands; none before the first.
    pub(crate) fn status(&self) -> Option<CheckStatus> {
        let current = self.lock();
        current
            .as_ref()
            .map(|current| current.status.lock().clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a check unless it was, and tells where it stands. One for another proof is ended.
    fn ensure(&self, order: &CheckOrder, work: Work) -> CheckStatus {
        let mut current = self.lock();
        if let Some(known) = &*current {
            let status = known.status.lock();
            if status.proof == order.proof {
                return status.clone();
            }
        }
        let begun = CheckStatus {
            proof: order.proof,
            phase: CheckPhase::Running,
            relations_done: 0,
            relations_total: 0,
            pages_done: 0,
        };
        let progress = Arc::new(Progress(Mutex::new(begun.clone())));
        let stop = CancellationToken::new();
        *current = Some(Current {
            status: Arc::clone(&progress),
            _ending: stop.clone().drop_guard(),
        });
        drop(current);
        let span = tracing::info_span!("check", proof.id = %order.proof);
        self.tasks.spawn(
            async move {
                // Whatever happens to the work: the status does not say for ever that it goes on.
                let ending = Ending(Arc::clone(&progress));
                tracing::info!(at = "start", "check");
                let phase = tokio::select! {
                    phase = work.run(&progress) => phase,
                    () = stop.cancelled() => failed("another check was ordered"),
                };
                ending.end(phase);
            }
            .instrument(span),
        );
        begun
    }
}

/// Notes the end of a check.
struct Ending(Arc<Progress>);

impl Ending {
    fn end(&self, phase: CheckPhase) {
        tracing::info!(at = "finish", ?phase, "check");
        self.0.lock().phase = phase;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.0.lock().phase == CheckPhase::Running {
            self.end(failed("the work on it was lost"));
        }
    }
}

fn failed(detail: impl Into<String>) -> CheckPhase {
    CheckPhase::Failed {
        detail: detail.into(),
    }
}

/// Begins the check of an order, or tells where it stands.
///
/// # Errors
/// [`Refusal`] if this is not an instance to be checked, or not yet; then nothing was changed.
pub(crate) fn order(agent: &Agent, order: &CheckOrder) -> Result<CheckStatus, Refusal> {
    let known = agent.store.get();
    let refuse = |(code, message)| Refusal {
        code,
        message,
        generation: known.generation(),
    };
    let held = known.instruction.as_ref().map(|held| &held.spec);
    is_held((order.participant, order.generation), held).map_err(refuse)?;
    let silent = |message: &str| refuse((RefusalCode::NotRunning, message.to_owned()));
    let spec = held.ok_or_else(|| silent("there is no instruction"))?;
    may_be_checked(spec).map_err(refuse)?;
    let restored = known
        .restored
        .ok_or_else(|| silent("it is not restored yet"))?;
    let running = agent.board.facts().running;
    let running = running.ok_or_else(|| silent("PostgreSQL does not run"))?;
    let binaries = agent.installations.find(spec.birth.postgres_major());
    let binaries = binaries.map_err(|error| refuse((RefusalCode::Invalid, error.to_string())))?;
    let work = Work {
        program: binaries.program("pg_amcheck"),
        major: binaries.version.major,
        account: agent.account.clone(),
        sockets: agent.paths.sockets(),
        port: running.port,
        began_at: restored.began_at,
    };
    Ok(agent.checks.ensure(order, work))
}

/// Whether nothing of anybody is changed by a check.
fn may_be_checked(spec: &InstanceSpec) -> Result<(), (RefusalCode, String)> {
    let why = if spec.role != InstanceRole::Leader {
        "only what leads a history of its own is checked"
    } else if spec.birth.restore().is_none() {
        "only what was restored is checked"
    } else if !spec.databases.is_empty() {
        "it has databases of customers, and checking installs an extension in each"
    } else {
        return Ok(());
    };
    Err((RefusalCode::Invalid, why.to_owned()))
}
