//! Replicas of the gateway, as processes.

use std::path::PathBuf;

use shared::process::{
    Account, DeathSignal, DistinctPorts, Launched, Lifetime, Program, RunningProcess, Signal,
    processes_in,
};

use super::{World, built};

/// Ports of a replica.
#[derive(Debug, Clone, Copy)]
pub struct GatewayPorts {
    /// For sessions.
    pub session: u16,
    /// For connections that are lent for a transaction at a time.
    pub pooled: u16,
}

/// A replica that runs. Its processes end with it.
#[derive(Debug)]
pub struct RunningGateway {
    process: Launched,
    root: PathBuf,
    /// Where it serves.
    pub ports: GatewayPorts,
}

impl World {
    /// Starts a replica that keeps its state under `name`, with these variables in its environment
    /// beside the usual ones. Its bouncers die with it, unless they say otherwise.
    pub async fn start_gateway(
        &self,
        name: &str,
        ports: Option<GatewayPorts>,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<RunningGateway> {
        let mut free = DistinctPorts::default();
        let ports = match ports {
            Some(ports) => ports,
            None => GatewayPorts {
                session: free.settle(None)?,
                pooled: free.settle(None)?,
            },
        };
        let root = self.directory.join(name);
        let mut program = Program::new(built()?.join("gateway_under_test"), &Account::current())
            .env("RINGMASTER_DATABASE_URL", self.database.url().expose())
            .env("RINGMASTER_ENCRYPTION_KEY_FILE", self.directory.join("key"))
            .env("RINGMASTER_GATEWAY_ROOT", &root)
            .env("RINGMASTER_SESSION_PORT", ports.session.to_string())
            .env("RINGMASTER_POOLED_PORT", ports.pooled.to_string())
            .env("RINGMASTER_PGBOUNCER_DIES_WITH_GATEWAY", "true")
            .env("RINGMASTER_LOG", "info,gateway=debug");
        for (name, value) in variables {
            program = program.env(name, value);
        }
        let log = self.directory.join(format!("{name}.log"));
        let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
        Ok(RunningGateway {
            process: program.launch(lifetime, &log).await?,
            root,
            ports,
        })
    }
}

impl RunningGateway {
    /// Kills the gateway, but not its bouncers, and waits until it is gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.process().signal(Signal::KILL)?;
        self.process.wait().await?;
        Ok(())
    }

    /// The gateway itself, to send signals to.
    pub fn process(&self) -> &RunningProcess {
        self.process.process()
    }

    /// Its bouncer for sessions and the one for pooled connections, those that run.
    pub fn bouncers(&self) -> anyhow::Result<Vec<RunningProcess>> {
        let mut found = Vec::new();
        for pooling in ["session", "transaction"] {
            found.extend(processes_in(&self.root.join(pooling))?);
        }
        Ok(found)
    }

    fn end(&self) -> anyhow::Result<()> {
        // It starts no more of them from here on.
        self.process.process().signal(Signal::STOP)?;
        for bouncer in self.bouncers()? {
            bouncer.signal(Signal::KILL)?;
        }
        Ok(self.process.process().signal(Signal::KILL)?)
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        // A failure here must not hide the failure of the test.
        drop(self.end());
    }
}
