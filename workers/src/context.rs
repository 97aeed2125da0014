//! What every turn needs, made once per worker.

mod agents;
mod archive;
mod borders;
mod memory;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared::clock::Clock;
use shared::db::DbError;
use shared::db::fleet::ResourceRow;
use shared::db::jobs::{self, JobKey};
use shared::ids::{RequestId, WorkerId};
use shared::pki::CertificateAuthority;
use shared::ports::{Endpoint, Provider};
use shared::queue::{Member, Queue, QueueError, Ring};
use shared::secret::Vault;
use sqlx::PgPool;

use crate::observe::{ObservationWriter, Prober};
use crate::turns::OnServer;
use crate::turns::rows::Rows;

pub use agents::{Agents, Asked};
pub use archive::Archive;
pub use borders::{Border, Borders, Gate};
pub use memory::Memory;

/// Everything a turn works with.
#[derive(Clone)]
pub struct Context {
    /// The control database.
    pub pool: PgPool,
    /// Rows of resources, loaded in batches.
    pub rows: Rows<ResourceRow>,
    /// Rows of servers and what is on them, loaded in batches.
    pub servers: Rows<OnServer>,
    /// The queue.
    pub queue: Queue,
    /// Opens and seals stored secrets.
    pub vault: Vault,
    /// The time that is stored.
    pub clock: Arc<dyn Clock>,
    /// Issues certificates.
    pub authority: Arc<CertificateAuthority>,
    /// Calls agents.
    pub agents: Agents,
    /// Looks at databases.
    pub prober: Prober,
    /// Stores what was seen.
    pub observations: ObservationWriter,
    /// Runs the machines.
    pub provider: Arc<dyn Provider>,
    /// Name of that provider, as it is stored with new servers.
    pub provider_name: String,
    /// Makes URLs stable.
    pub endpoint: Arc<dyn Endpoint>,
    /// Where WAL and backups go; null if nothing is protected.
    pub archive: Option<Archive>,
    /// Major version of PostgreSQL for new participants.
    pub postgres_major: u16,
    /// Most timelines that are proven by a restore at the same time, in the whole fleet.
    pub proofs_at_once: u32,
    /// What this worker remembers between turns; nothing depends on it.
    pub memory: Arc<Memory>,
    /// This worker.
    pub worker: WorkerId,
    /// Where tests interrupt its turns.
    pub borders: Borders,
}

impl Context {
    /// Now, as it is stored.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Makes `member` due now. A wake that fails is repaired by the audit, so a turn whose record
    /// is already written does not fail for it.
    pub async fn wake(&self, (ring, member): (Ring, Member)) {
        self.borders.within().await;
        if let Err(error) = self.try_wake(ring, member).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%member, error = %shared::telemetry::chain(error), "failed to wake");
        }
    }

    /// Asks for a job and wakes it; tells whether nobody had asked yet.
    ///
    /// # Errors
    /// [`DbError`] if the control database does not answer.
    pub async fn ask(&self, key: JobKey, request_id: RequestId) -> Result<bool, DbError> {
        let is_new = jobs::ask(&self.pool, key, request_id, self.now()).await?;
        if is_new {
            self.wake(Member::of_job(key.kind, key.subject_id)).await;
        }
        Ok(is_new)
    }

    async fn try_wake(&self, ring: Ring, member: Member) -> Result<(), QueueError> {
        self.queue.wake(ring, member).await.map(|_| ())
    }
}
