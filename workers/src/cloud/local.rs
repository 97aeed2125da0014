//! The provider `local`: agents as processes of this computer.
//!
//! A server is a directory below the root, named by its id, with one agent process and one data
//! directory. Everything about it is found by looking there, so two workers may ask for the same
//! server at once, or one may die in the middle: a lock file makes them take turns, and the next
//! call goes on from what is there.

mod agent_process;
mod home;

use std::path::PathBuf;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::clock::{Clock as _, SystemClock};
use shared::ids::ServerId;
use shared::ports::{Machine, MachineState, Provider, ProviderError, ServerOrder};
use shared::process::ProcessError;

use home::Home;

/// What the provider needs to know about this computer.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Directory that holds one directory for each server. The user that PostgreSQL runs as must be
    /// able to pass it.
    pub root: PathBuf,
    /// The program `ringmaster-agent`.
    pub agent_binary: PathBuf,
    /// Process whose end ends all agents and their PostgreSQL; null to let them go on.
    pub supervisor_pid: Option<u32>,
    /// Further directories with PostgreSQL programs.
    pub postgres_bin_dirs: Vec<PathBuf>,
}

/// Runs agents as processes of this computer.
#[derive(Debug, Clone)]
pub struct LocalProvider {
    options: LocalOptions,
}

impl LocalProvider {
    /// A provider with these options. Touches nothing yet.
    pub fn new(options: LocalOptions) -> Self {
        Self { options }
    }

    fn home(&self, server: ServerId) -> Home {
        Home::of(&self.options.root, server)
    }

    async fn ensure_agent(&self, order: &ServerOrder) -> Result<Machine, ProcessError> {
        let home = self.home(order.server);
        home.make()?;
        let Some(_turn) = home.lock()? else {
            return Ok(home.machine(MachineState::Pending));
        };
        // Validity is what TLS makes of it, which reads the same clock.
        if home.certificate_has_expired(SystemClock.now()) {
            agent_process::kill(&home).await?;
        }
        if agent_process::running(&home).is_none() {
            home.choose_ports()?;
            home.write_credentials(&order.credentials)?;
            agent_process::start(&home, &self.options, order).await?;
        }
        Ok(home.machine(MachineState::Running))
    }

    fn look(&self, server: ServerId) -> Machine {
        let home = self.home(server);
        if !home.exists() {
            return Machine::absent();
        }
        let running = agent_process::running(&home).is_some();
        home.machine(if running {
            MachineState::Running
        } else {
            MachineState::Stopped
        })
    }

    async fn remove(&self, server: ServerId) -> Result<Machine, ProcessError> {
        let home = self.home(server);
        if !home.exists() {
            return Ok(Machine::absent());
        }
        let Some(_turn) = home.lock()? else {
            return Ok(home.machine(MachineState::Stopped));
        };
        agent_process::end(&home).await?;
        home.remove()?;
        Ok(Machine::absent())
    }
}

fn transient(
    operation: &'static str,
    server: ServerId,
) -> impl FnOnce(ProcessError) -> ProviderError {
    move |source| ProviderError::Transient {
        operation,
        server,
        source: Box::new(source),
    }
}

impl Provider for LocalProvider {
    fn ensure<'a>(
        &'a self,
        order: &'a ServerOrder,
    ) -> BoxFuture<'a, Result<Machine, ProviderError>> {
        async move {
            self.ensure_agent(order)
                .await
                .map_err(transient("ensure", order.server))
        }
        .boxed()
    }

    fn describe(&self, server: ServerId) -> BoxFuture<'_, Result<Machine, ProviderError>> {
        async move { Ok(self.look(server)) }.boxed()
    }

    fn destroy(&self, server: ServerId) -> BoxFuture<'_, Result<Machine, ProviderError>> {
        async move {
            self.remove(server)
                .await
                .map_err(transient("destroy", server))
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ServerId>, ProviderError>> {
        async move {
            Home::all(&self.options.root).map_err(|error| ProviderError::List(Box::new(error)))
        }
        .boxed()
    }
}
