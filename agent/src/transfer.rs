//! Transfers: a database is taken out of a hidden instance on another server, and brought here.
//!
//! ```text
//!  order ──▶ database under another name ──▶ dump there │ restore here ──▶ remembered ──▶ renamed
//! ```
//!
//! Guarantees:
//! - Dump and restore are sessions of the owner, at both ends. What a customer has written runs with no
//!   more rights than the customer has.
//! - The database has its name only when all of it is there, and on the disk. An agent that is killed
//!   before begins anew; killed after, it knows the database again, and by its identity: an empty one
//!   that somebody made under the same name is not taken for it.
//! - Nothing is dropped but what has the name of a database on its way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::agent_api::transfer::{TransferOrder, TransferPhase, TransferStatus};
use shared::agent_api::{InstanceRole, InstanceSpec, Refusal, RefusalCode};
use shared::ids::RestoreId;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::agent::Agent;
use crate::held::is_held;

mod contents;
mod ends;
mod names;
mod room;
mod said;
mod work;

pub(crate) use names::incoming_name;

use ends::{Ends, Here};
use work::Work;

/// Most transfers that work at the same time; others wait for them.
const AT_ONCE: usize = 2;

/// Most transfers that are known in one life of the agent: beyond that those that have ended are
/// forgotten, and looked up in what is remembered on the disk.
const KNOWN_MAX: usize = 100;

/// Those that are known, by the restore that they are taken out of.
type Known = Mutex<BTreeMap<RestoreId, Arc<Progress>>>;

/// The transfers of this life of the agent.
#[derive(Debug)]
pub(crate) struct Transfers {
    known: Arc<Known>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Default for Transfers {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: TaskTracker::new(),
        }
    }
}

/// What is shown of a transfer.
#[derive(Debug)]
struct Progress(Mutex<TransferStatus>);

impl Progress {
    fn lock(&self) -> MutexGuard<'_, TransferStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(known: &Known) -> MutexGuard<'_, BTreeMap<RestoreId, Arc<Progress>>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transfers {
    /// Begins a transfer unless it was, and tells where it stands.
    fn ensure(&self, work: Work) -> TransferStatus {
        let restore = work.order.restore;
        let mut known = lock(&self.known);
        if let Some(progress) = known.get(&restore) {
            return progress.lock().clone();
        }
        if known.len() >= KNOWN_MAX {
            known.retain(|_, progress| progress.lock().phase == TransferPhase::Running);
        }
        let begun = TransferStatus {
            restore,
            phase: TransferPhase::Running,
            bytes_done: 0,
            bytes_total: 0,
        };
        let progress = Arc::new(Progress(Mutex::new(begun.clone())));
        known.insert(restore, Arc::clone(&progress));
        drop(known);
        let span = tracing::info_span!("transfer", restore.id = %restore);
        let (permits, all) = (Arc::clone(&self.permits), Arc::clone(&self.known));
        self.tasks.spawn(
            async move {
                // Whatever happens to the work: the status does not say for ever that it goes on.
                let ending = Ending(Arc::clone(&progress));
                let _permit = permits.acquire_owned().await;
                tracing::info!(at = "start", database = work.order.database, "transfer");
                match work.run(&progress).await {
                    Some(phase) => ending.end(phase),
                    // Whoever asks next begins it anew.
                    None => drop(lock(&all).remove(&restore)),
                }
            }
            .instrument(span),
        );
        begun
    }
}

/// Notes the end of a transfer.
struct Ending(Arc<Progress>);

impl Ending {
    fn end(&self, phase: TransferPhase) {
        let mut status = self.0.lock();
        tracing::info!(at = "finish", ?phase, bytes = status.bytes_done, "transfer");
        status.phase = phase;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let is_running = self.0.lock().phase == TransferPhase::Running;
        if is_running {
            let detail = "the work on it was lost".to_owned();
            self.end(TransferPhase::Failed { detail });
        }
    }
}

/// Begins the transfer of an order, or tells where it stands.
///
/// # Errors
/// [`Refusal`] if this is not where it belongs, or not yet; then nothing was changed.
pub(crate) fn order(agent: &Agent, order: &TransferOrder) -> Result<TransferStatus, Refusal> {
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
    may_be_brought(spec, order).map_err(refuse)?;
    if known.restoring().is_some() {
        return Err(silent("it is restored itself"));
    }
    let running = agent.board.facts().running;
    let running = running.ok_or_else(|| silent("PostgreSQL does not run"))?;
    let binaries = agent.installations.find(spec.birth.postgres_major());
    let binaries = binaries.map_err(|error| refuse((RefusalCode::Invalid, error.to_string())))?;
    let here = Here {
        server: agent.options.server_id,
        listen_addresses: &spec.listen_addresses,
        port: running.port,
    };
    let work = Work {
        order: order.clone(),
        ends: Ends::new(order, &here, &agent.paths.configuration()),
        binaries: binaries.clone(),
        account: agent.account.clone(),
        sockets: agent.paths.sockets(),
        data: agent.paths.data(),
        port: running.port,
        store: agent.store.clone(),
    };
    Ok(agent.transfers.ensure(work))
}

/// Whether the database belongs here, and is not open yet.
fn may_be_brought(spec: &InstanceSpec, order: &TransferOrder) -> Result<(), (RefusalCode, String)> {
    let why = if spec.role != InstanceRole::Leader {
        "only a leader can get a database"
    } else if spec
        .databases
        .iter()
        .any(|each| each.name == order.database)
    {
        "the database is there already"
    } else if !spec.roles.iter().any(|each| each.name == order.role) {
        "the owner of the database is not there"
    } else {
        return Ok(());
    };
    Err((RefusalCode::Invalid, why.to_owned()))
}
