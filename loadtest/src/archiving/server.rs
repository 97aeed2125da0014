//! A server as a provider makes one: a directory, certificates, the agent as a process, and the
//! PostgreSQL that it runs.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::agent_api::client::{AgentAddress, AgentClient};
use shared::agent_api::{ARCHIVE_SLOT, Absent, Birth, InstanceRole, InstanceSpec, InstanceStatus};
use shared::clock::SystemClock;
use shared::ids::{ParticipantId, RequestId, ServerId, WorkerId};
use shared::pki::CertificateAuthority;
use shared::process::{
    Account, DeathSignal, HARD_END, Launched, Lifetime, PostgresInstallations, Program, Signal,
    end_all_in, free_port, tail_of,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::postgres::Postgres;
use crate::memory;

/// Longest wait for anything of it.
const PATIENCE: Duration = Duration::from_mins(2);

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

/// A server with its agent.
pub(crate) struct Server {
    pub(crate) client: AgentClient,
    pub(crate) address: AgentAddress,
    pub(crate) spec: InstanceSpec,
    agent: Launched,
    directory: TempDir,
}

impl Server {
    /// One that was told to be born so; its agent works on it.
    pub(crate) async fn start(agent: &Path, birth: Option<Birth>) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for a server")?;
        // The user that PostgreSQL runs as must be able to pass it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = AgentAddress {
            server: ServerId::new(),
            address: SocketAddr::new(here, free_port()?),
        };
        let authority = CertificateAuthority::generate(&SystemClock)?;
        let identity = authority.issue_for_server(address.server, &[here], &SystemClock)?;
        let worker = authority.issue_for_worker(WorkerId::new(), &SystemClock)?;
        for (name, content) in [
            ("ca.pem", authority.certificate_pem()),
            ("certificate.pem", identity.certificate_pem.as_str()),
            ("key.pem", identity.key_pem.expose()),
        ] {
            fs::write(directory.path().join(name), content)?;
        }
        let launched = launch(agent, &address, directory.path()).await?;
        let client = AgentClient::new(authority.certificate_pem(), &worker, ANSWER)?;
        let server = Self {
            client,
            address,
            spec: spec(birth).await?,
            agent: launched,
            directory,
        };
        server.until_instructed().await?;
        Ok(server)
    }

    async fn until_instructed(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.client.instruct(self.address, &self.spec).await {
            ensure!(Instant::now() < deadline, "{error:#}: {}", self.log());
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Waits until all of the spec holds.
    pub(crate) async fn until_converged(&self) -> anyhow::Result<InstanceStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await?;
            if status.converged_generation == self.spec.generation {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "{status:#?}: {}", self.log());
            sleep(PAUSE).await;
        }
    }

    pub(crate) async fn status(&self) -> anyhow::Result<InstanceStatus> {
        Ok(self.client.status(self.address, RequestId::new()).await?)
    }

    /// What the agent logged last.
    pub(crate) fn log(&self) -> String {
        tail_of(&self.directory.path().join("agent.log"))
    }

    /// The data directory of PostgreSQL.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("server/data")
    }

    /// PostgreSQL, as its superuser reaches it.
    pub(crate) fn postgres(&self) -> Postgres {
        Postgres {
            sockets: self.directory.path().join("server/socket"),
            port: self.spec.port,
        }
    }

    /// Id of the agent's process.
    pub(crate) fn agent_pid(&self) -> u32 {
        self.agent.pid()
    }

    /// Most memory that the agent has had at once, in mebibytes.
    pub(crate) fn agent_peak_mib(&self) -> anyhow::Result<f64> {
        memory::peak_mib(self.agent.pid())
    }

    /// Ends it with its data.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.agent.process().signal(Signal::TERM)?;
        self.agent.wait().await?;
        end_all_in(&self.data(), HARD_END).await?;
        Ok(())
    }
}

async fn launch(
    agent: &Path,
    address: &AgentAddress,
    directory: &Path,
) -> anyhow::Result<Launched> {
    let file = |name: &str| directory.join(name);
    let mut program = Program::new(agent, &Account::current())
        .args(["--server-id", &address.server.to_string()])
        .args(["--listen", &address.address.to_string()])
        .arg("--die-with-agent");
    for (option, path) in [
        ("--data-dir", "server"),
        ("--certificate", "certificate.pem"),
        ("--key", "key.pem"),
        ("--ca", "ca.pem"),
    ] {
        program = program.arg(option).arg(file(path));
    }
    let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
    Ok(program.launch(lifetime, &file("agent.log")).await?)
}

/// PostgreSQL as a dedicated server has it, but for checkpoints, which come only when they are asked
/// for, so that all measure the same.
async fn spec(birth: Option<Birth>) -> anyhow::Result<InstanceSpec> {
    let installations = PostgresInstallations::discover(&[]).await;
    let postgres_major = installations.newest()?.version.major;
    let settings = [
        ("shared_buffers", "256MB"),
        ("max_connections", "50"),
        ("max_wal_size", "16GB"),
        ("checkpoint_timeout", "1h"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(InstanceSpec {
        participant: ParticipantId::new(),
        generation: 1,
        request_id: RequestId::new(),
        role: InstanceRole::Leader,
        incarnation: 1,
        birth: birth.unwrap_or(Birth::Initdb { postgres_major }),
        port: free_port()?,
        listen_addresses: vec!["127.0.0.1".to_owned()],
        settings: BTreeMap::from(settings),
        hba: Vec::new(),
        roles: Vec::new(),
        databases: Vec::new(),
        absent: Absent::default(),
        slots: vec![ARCHIVE_SLOT.to_owned()],
        upstream: None,
        streamers: Vec::new(),
        promotion_tli: None,
    })
}
