//! A server for one test: a directory, certificates, and the real agent as a process, which runs
//! real PostgreSQL. All of it is gone when the test is.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use shared::agent_api::client::{AgentAddress, AgentClient, AgentError};
use shared::agent_api::{
    ARCHIVE_SLOT, Absent, Birth, DatabaseSpec, HbaMethod, HbaRule, InstanceRole, InstanceSpec,
    InstanceStatus, RoleSpec,
};
use shared::clock::SystemClock;
use shared::ids::{ParticipantId, RequestId, ServerId, WorkerId};
use shared::pki::{CertificateAuthority, Identity};
use shared::process::{
    Account, DeathSignal, Launched, Lifetime, PostgresInstallations, Program, Signal, free_port,
    processes_in, tail_of,
};
use shared::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);

/// Password of every role in tests.
pub const PASSWORD: &str = "correct horse";

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server with its agent. Dropping it ends everything and removes the data.
#[derive(Debug)]
pub struct AgentServer {
    /// Whether PostgreSQL dies with the agent.
    pub die_with_agent: bool,
    /// The authority that the agent trusts.
    pub authority: CertificateAuthority,
    /// Where the agent is.
    pub address: AgentAddress,
    /// A worker's client.
    pub client: AgentClient,
    directory: PathBuf,
    agent: Option<Launched>,
}

impl AgentServer {
    /// A server whose agent runs and has no instruction yet.
    pub async fn start(die_with_agent: bool) -> anyhow::Result<Self> {
        let authority = CertificateAuthority::generate(&SystemClock)?;
        Self::start_with(authority, die_with_agent).await
    }

    /// Another one of the same control plane.
    pub async fn start_beside(&self, die_with_agent: bool) -> anyhow::Result<Self> {
        let ours = &self.authority;
        let authority = CertificateAuthority::from_pem(ours.certificate_pem(), &ours.key_pem())?;
        Self::start_with(authority, die_with_agent).await
    }

    async fn start_with(
        authority: CertificateAuthority,
        die_with_agent: bool,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("ringmaster-agent-")
            .tempdir()?
            .keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        let server = ServerId::new();
        let identity = authority.issue_for_server(server, &[LOCALHOST], &SystemClock)?;
        fs::write(directory.join("ca.pem"), authority.certificate_pem())?;
        fs::write(directory.join("certificate.pem"), &identity.certificate_pem)?;
        fs::write(directory.join("key.pem"), identity.key_pem.expose())?;
        fs::write(directory.join("boot_id"), "first boot")?;
        let worker = authority.issue_for_worker(WorkerId::new(), &SystemClock)?;
        let mut started = Self {
            die_with_agent,
            client: AgentClient::new(
                authority.certificate_pem(),
                &worker,
                Duration::from_secs(20),
            )?,
            authority,
            address: AgentAddress {
                server,
                address: SocketAddr::new(LOCALHOST, free_port()?),
            },
            directory,
            agent: None,
        };
        started.start_agent().await?;
        Ok(started)
    }

    /// Starts the agent, and waits until it answers.
    pub async fn start_agent(&mut self) -> anyhow::Result<()> {
        self.agent = Some(self.launch().await?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.status().await {
                Ok(_) => return Ok(()),
                Err(AgentError::Down { .. } | AgentError::Silent { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            ensure!(
                Instant::now() < deadline,
                "the agent does not answer: {}",
                self.agent_log()
            );
            let ended = self.agent.as_mut().context("the agent was started")?.wait();
            if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(20), ended).await {
                bail!("the agent ended: {}: {}", outcome?, self.agent_log());
            }
        }
    }

    /// Starts the agent's process, once more if it runs already.
    pub async fn launch(&self) -> anyhow::Result<Launched> {
        let file = |name: &str| self.directory.join(name).display().to_string();
        let executable = std::env::current_exe()?;
        let built = executable
            .ancestors()
            .nth(2)
            .context("tests are in target/<profile>/deps")?;
        let mut program = Program::new(built.join("agent_under_test"), &Account::current())
            .args(["--server-id", &self.address.server.to_string()])
            .args(["--listen", &self.address.address.to_string()])
            .args(["--data-dir", &file("server")])
            .args(["--certificate", &file("certificate.pem")])
            .args(["--key", &file("key.pem")])
            .args(["--ca", &file("ca.pem")])
            .args(["--boot-id-file", &file("boot_id")])
            .args(["--log", "debug,hyper=info,rustls=info,sqlx=info"]);
        if self.die_with_agent {
            program = program.arg("--die-with-agent");
        }
        let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
        Ok(program
            .launch(lifetime, &self.directory.join("agent.log"))
            .await?)
    }

    /// Kills the agent with SIGKILL, and waits until it is gone.
    pub async fn kill_agent(&mut self) -> anyhow::Result<()> {
        self.end_agent(Signal::KILL).await
    }

    /// Asks the agent to end, and waits until it has.
    pub async fn stop_agent(&mut self) -> anyhow::Result<()> {
        self.end_agent(Signal::TERM).await
    }

    async fn end_agent(&mut self, signal: Signal) -> anyhow::Result<()> {
        let mut agent = self.agent.take().context("the agent runs")?;
        agent.process().signal(signal)?;
        agent.wait().await?;
        Ok(())
    }

    /// Sends a signal to the agent.
    pub fn signal_agent(&self, signal: Signal) -> anyhow::Result<()> {
        let agent = self.agent.as_ref().context("the agent runs")?;
        Ok(agent.process().signal(signal)?)
    }

    /// What the agent logged last.
    pub fn agent_log(&self) -> String {
        tail_of(&self.directory.join("agent.log"))
    }

    /// What PostgreSQL logged last.
    pub fn postgres_log(&self) -> String {
        tail_of(&self.directory.join("server/postgres.log"))
    }

    /// A file of this server, below its own directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The data directory of PostgreSQL.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join("server/data")
    }

    /// `GET /v1/instance`.
    pub async fn status(&self) -> Result<InstanceStatus, AgentError> {
        self.client.status(self.address, RequestId::new()).await
    }

    /// `PUT /v1/instance`.
    pub async fn instruct(&self, spec: &InstanceSpec) -> Result<InstanceStatus, AgentError> {
        self.client.instruct(self.address, spec).await
    }

    /// Waits until the status is `good`.
    pub async fn until(
        &self,
        what: &str,
        good: impl Fn(&InstanceStatus) -> bool,
    ) -> anyhow::Result<InstanceStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await?;
            if good(&status) {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "not {what}: {status:#?}\n{}",
                self.agent_log()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Instructs, and waits until the agent says that all of it holds.
    pub async fn converge(&self, spec: &InstanceSpec) -> anyhow::Result<InstanceStatus> {
        self.instruct(spec).await?;
        let generation = spec.generation;
        self.until("converged", |status| {
            status.converged_generation == generation
        })
        .await
    }

    /// Connects over TLS, with the certificate checked, as `role` with [`PASSWORD`].
    pub async fn connect(
        &self,
        spec: &InstanceSpec,
        role: &str,
        database: &str,
    ) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.connect_options(spec, role, database)).await
    }

    /// How [`AgentServer::connect`] connects.
    pub fn connect_options(
        &self,
        spec: &InstanceSpec,
        role: &str,
        database: &str,
    ) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(spec.port)
            .username(role)
            .password(PASSWORD)
            .database(database)
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(self.directory.join("ca.pem"))
    }

    /// The identity of another worker of the same control plane.
    pub fn worker(&self) -> anyhow::Result<Identity> {
        Ok(self
            .authority
            .issue_for_worker(WorkerId::new(), &SystemClock)?)
    }
}

impl Drop for AgentServer {
    fn drop(&mut self) {
        if let Some(agent) = &self.agent {
            drop(agent.process().signal(Signal::KILL));
        }
        end_at_once(&self.data_directory());
        end_at_once(&self.directory.join("server/data.unfinished"));
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Ends all processes of a directory. Not async, for `drop`.
pub(crate) fn end_at_once(directory: &Path) {
    for attempt in 0..2000 {
        let processes = processes_in(directory).unwrap_or_default();
        if processes.is_empty() {
            return;
        }
        // An immediate shutdown frees what PostgreSQL shares; one that is stopped obeys no signal.
        let signal = if attempt < 200 {
            Signal::QUIT
        } else {
            Signal::KILL
        };
        for process in processes {
            drop(process.signal(signal));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A spec of generation 1 with one database `shop` that belongs to a role `shop`, for the newest
/// PostgreSQL of this machine.
pub async fn spec() -> anyhow::Result<InstanceSpec> {
    let postgres_major = PostgresInstallations::discover(&[])
        .await
        .newest()?
        .version
        .major;
    let settings = [
        ("shared_buffers", "16MB"),
        ("max_connections", "30"),
        ("fsync", "off"),
        ("full_page_writes", "off"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(InstanceSpec {
        participant: ParticipantId::new(),
        generation: 1,
        request_id: RequestId::new(),
        role: InstanceRole::Leader,
        incarnation: 1,
        birth: Birth::Initdb { postgres_major },
        port: free_port()?,
        listen_addresses: vec!["127.0.0.1".to_owned()],
        settings: BTreeMap::from(settings),
        hba: vec![HbaRule {
            database: "all".to_owned(),
            user: "all".to_owned(),
            address: "127.0.0.0/8".to_owned(),
            method: HbaMethod::ScramSha256,
        }],
        roles: vec![role("shop")],
        databases: vec![database("shop")],
        absent: Absent::default(),
        slots: vec![ARCHIVE_SLOT.to_owned()],
        upstream: None,
        streamers: Vec::new(),
        promotion_tli: None,
    })
}

/// A role with [`PASSWORD`].
pub fn role(name: &str) -> RoleSpec {
    RoleSpec {
        name: name.to_owned(),
        verifier: Secret::new(PASSWORD).scram_verifier(),
        superuser: false,
        connection_limit: 10,
        bypasses_row_security: false,
    }
}

/// A database that belongs to the role of the same name.
pub fn database(name: &str) -> DatabaseSpec {
    DatabaseSpec {
        name: name.to_owned(),
        owner: name.to_owned(),
        connection_limit: 10,
    }
}
