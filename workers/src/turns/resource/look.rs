//! What one turn has seen of a resource so far.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::db::fleet::{Base, ResourceRow};
use shared::domain::{Observation, ResourceState};
use shared::machine::resource::{Driver, Event, asks_agent};
use shared::pki::server_name;
use shared::secret::VaultError;

use crate::context::{Agents, Asked, Context};
use crate::observe::Target;
use crate::steps::contexts;

/// Age at which an agent's word about its disk is asked for again while all is well.
const DISK_NEWS: Duration = Duration::from_secs(30);

/// What one turn has seen so far; later hops of the turn decide from it too.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// What the database answered, and how many looks in a row found it absent.
    pub(super) seen: Option<(Observation, u32)>,
    /// How the agent answered, if its answer can matter.
    pub(super) agent: Option<Asked>,
    /// The restart that was seen is recorded.
    pub(super) restart_recorded: bool,
}

impl Look {
    /// Looks at what the state of `row` calls for, once per turn.
    pub(super) async fn at(
        &mut self,
        context: &Context,
        row: &ResourceRow,
        driver: Driver,
    ) -> Result<(), VaultError> {
        let Some(base) = &row.base else { return Ok(()) };
        if asks_agent(row.state) && self.agent.is_none() {
            self.agent = Some(ask(context, base, row, Duration::ZERO).await);
        }
        if is_felt(driver, row.state) && self.seen.is_none() {
            self.probe(context, row).await?;
        }
        Ok(())
    }

    /// Looks at the database now and has the observation stored.
    pub(crate) async fn probe(
        &mut self,
        context: &Context,
        row: &ResourceRow,
    ) -> Result<(), VaultError> {
        let Some(base) = &row.base else { return Ok(()) };
        let Some(target) = target(context, row, base)? else {
            return Ok(());
        };
        let status = match &self.agent {
            Some(asked) => asked.status().cloned(),
            None => ask(context, base, row, DISK_NEWS).await.status().cloned(),
        };
        let observation = context
            .prober
            .feel(&target, status.as_deref(), context.now())
            .await;
        context.observations.record(row.id, &observation);
        let absent = context
            .memory
            .looked_at_resource(row.id, !observation.available);
        self.seen = Some((observation, absent));
        Ok(())
    }

    /// Moment PostgreSQL started, if it answered.
    pub(super) fn postgres_started_at(&self) -> Option<DateTime<Utc>> {
        self.seen.as_ref()?.0.postgres_started_at
    }

    /// Notes that an event was recorded.
    pub(super) fn recorded(&mut self, event: Event) {
        if event == Event::RestartSeen {
            self.restart_recorded = true;
        }
    }
}

/// Whether a turn begins with a look at the database: those of the ring, and of the job whose goal it
/// is that the database answers. Other jobs look when their machine asks for it.
fn is_felt(driver: Driver, state: ResourceState) -> bool {
    match state {
        ResourceState::Available | ResourceState::Unavailable => driver == Driver::Ring,
        ResourceState::Recovering => true,
        ResourceState::Creating | ResourceState::Deprovisioning | ResourceState::Deprovisioned => {
            false
        }
    }
}

async fn ask(context: &Context, base: &Base, row: &ResourceRow, age: Duration) -> Asked {
    if let Some(asked) = context.agents.asked_within(base.server, age) {
        return asked;
    }
    let address = base
        .agent
        .as_ref()
        .and_then(|agent| Agents::address(base.server, agent));
    match address {
        Some(address) => context.agents.ask(address, row.request_id).await,
        None => Asked::Refused,
    }
}

fn target(context: &Context, row: &ResourceRow, base: &Base) -> Result<Option<Target>, VaultError> {
    let Some(postgres) = &base.postgres else {
        return Ok(None);
    };
    let sealed = contexts::prober_password(base.participant);
    Ok(Some(Target {
        resource: row.id,
        participant: base.participant,
        host: postgres.host.clone(),
        port: postgres.port,
        server_name: server_name(base.server),
        ca_pem: context.authority.certificate_pem_shared(),
        prober_password: context.vault.open(&sealed, &base.prober_password)?,
        database: row.database_name.clone(),
        customer_role: row.role_name.clone(),
        connection_limit: row.connection_limit,
        shared: !row.dedicated,
    }))
}
