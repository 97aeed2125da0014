//! A PostgreSQL with TLS and passwords, as the agent sets one up, and customers of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use shared::agent_api::PROBER_ROLE;
use shared::clock::{Clock as _, SystemClock};
use shared::domain::Observation;
use shared::ids::{ParticipantId, ResourceId, ServerId};
use shared::pki::{CertificateAuthority, server_name};
use shared::process::{Account, RunningProcess, Signal, processes_in};
use shared::secret::Secret;
use tests::postgres_server::PostgresServer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};
use workers::observe::{FeelConfig, Prober, Target};

/// Longest time that something may take which takes a moment.
const PATIENCE: Duration = Duration::from_mins(1);

const PASSWORD: &str = "secret of the prober";

/// Clients without TLS are our own tools; only they get in without a password.
const HBA: &str = "hostnossl all all 127.0.0.1/32 trust\n\
                   hostssl all all 127.0.0.1/32 scram-sha-256\n";

/// One server with TLS.
pub(super) struct World {
    pub(super) server: PostgresServer,
    pub(super) participant: ParticipantId,
    server_id: ServerId,
    ca_pem: Arc<str>,
}

impl World {
    /// A server that holds no database of a customer yet.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let server = PostgresServer::start().await?;
        let authority = CertificateAuthority::generate(&SystemClock)?;
        let server_id = ServerId::new();
        let identity = authority.issue_for_server(server_id, &[], &SystemClock)?;
        let account = Account::for_postgres()?;
        for (name, content) in [
            ("server.crt", identity.certificate_pem.as_str()),
            ("server.key", identity.key_pem.expose()),
            ("pg_hba.conf", HBA),
        ] {
            let path = server.data_directory().join(name);
            std::fs::write(&path, content)?;
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            account.give(&path)?;
        }
        let world = Self {
            server,
            participant: ParticipantId::new(),
            server_id,
            ca_pem: authority.certificate_pem().into(),
        };
        let admin = world.admin("postgres").await?;
        admin
            .run(&format!("alter role {PROBER_ROLE} password '{PASSWORD}'"))
            .await?;
        for setting in [
            "ssl = on",
            "ssl_cert_file = 'server.crt'",
            "ssl_key_file = 'server.key'",
        ] {
            admin.run(&format!("alter system set {setting}")).await?;
        }
        admin.run("select pg_reload_conf()").await?;
        until("TLS is on", async || {
            Ok(world.admin("postgres").await?.text("show ssl").await? == "on")
        })
        .await?;
        Ok(world)
    }

    /// A database of its own for a new customer, whose role has the same name.
    pub(super) async fn create(&self, name: &str) -> anyhow::Result<()> {
        let admin = self.admin("postgres").await?;
        admin.run(&format!("create role {name} login")).await?;
        admin
            .run(&format!("create database {name} owner {name}"))
            .await
    }

    /// A database on this server, as a target that has it for itself.
    pub(super) fn target(&self, name: &str) -> Target {
        Target {
            resource: ResourceId::new(),
            participant: self.participant,
            host: "127.0.0.1".to_owned(),
            port: self.server.port(),
            server_name: server_name(self.server_id),
            ca_pem: Arc::clone(&self.ca_pem),
            prober_password: Secret::new(PASSWORD),
            database: name.to_owned(),
            customer_role: name.to_owned(),
            connection_limit: 20,
            shared: false,
        }
    }

    /// A connection of ours, past TLS.
    pub(super) async fn admin(&self, database: &str) -> anyhow::Result<Session> {
        Session::open(self.server.port(), PROBER_ROLE, database).await
    }

    /// A connection of the customer to the database of the same name.
    pub(super) async fn customer(&self, name: &str) -> anyhow::Result<Session> {
        Session::open(self.server.port(), name, name).await
    }

    /// Process ids of the sessions of feel.
    pub(super) async fn feelers(&self) -> anyhow::Result<Vec<u32>> {
        let admin = self.admin("postgres").await?;
        let rows = admin
            .client
            .query(
                "select pid from pg_stat_activity where application_name = 'ringmaster-feel'",
                &[],
            )
            .await?;
        let pids = rows.iter().map(|row| u32::try_from(row.get::<_, i32>(0)));
        Ok(pids.collect::<Result<_, _>>()?)
    }

    /// Stops these processes until the answer is dropped.
    pub(super) fn freeze(&self, pids: &[u32]) -> anyhow::Result<Frozen> {
        let processes = processes_in(&self.server.data_directory())?;
        let mut frozen = Frozen(Vec::new());
        for process in processes {
            if pids.contains(&process.pid()) {
                process.signal(Signal::STOP)?;
                frozen.0.push(process);
            }
        }
        anyhow::ensure!(frozen.0.len() == pids.len(), "a process is gone");
        Ok(frozen)
    }

    /// Process ids of the whole server.
    pub(super) fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let processes = processes_in(&self.server.data_directory())?;
        Ok(processes.iter().map(RunningProcess::pid).collect())
    }

    /// Process id of the postmaster.
    pub(super) fn postmaster(&self) -> anyhow::Result<u32> {
        let file = std::fs::read_to_string(self.server.data_directory().join("postmaster.pid"))?;
        Ok(file.lines().next().context("an empty file")?.parse()?)
    }
}

/// Processes that are stopped. Dropping this lets them go on.
pub(super) struct Frozen(Vec<RunningProcess>);

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.0 {
            drop(process.signal(Signal::CONT));
        }
    }
}

/// A connection without TLS.
pub(super) struct Session {
    pub(super) client: Client,
    _driving: JoinSet<()>,
}

impl Session {
    async fn open(port: u16, user: &str, database: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (client, connection) = Config::new()
            .user(user)
            .dbname(database)
            .connect_raw(stream, NoTls)
            .await?;
        let mut driving = JoinSet::new();
        driving.spawn(async move { drop(connection.await) });
        Ok(Self {
            client,
            _driving: driving,
        })
    }

    /// Runs statements.
    pub(super) async fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.client
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())
    }

    /// The one text that a statement answers.
    pub(super) async fn text(&self, sql: &str) -> anyhow::Result<String> {
        Ok(self.client.query_one(sql, &[]).await?.try_get(0)?)
    }
}

/// Stands before a server and counts who comes in.
pub(super) struct Doorman {
    /// Where to come in.
    pub(super) port: u16,
    entered: Arc<AtomicUsize>,
    _standing: JoinSet<()>,
}

impl Doorman {
    /// Before the server on `port`.
    pub(super) async fn before(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own_port = listener.local_addr()?.port();
        let entered = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&entered);
        let mut standing = JoinSet::new();
        standing.spawn(async move {
            let mut inside = JoinSet::new();
            while let Ok((mut outer, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                inside.spawn(async move {
                    if let Ok(mut inner) = TcpStream::connect(("127.0.0.1", port)).await {
                        drop(copy_bidirectional(&mut outer, &mut inner).await);
                    }
                });
            }
        });
        Ok(Self {
            port: own_port,
            entered,
            _standing: standing,
        })
    }

    /// How many came in so far.
    pub(super) fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }
}

/// A prober that gives up after `deadline_ms` and surveys at each look.
pub(super) fn prober(deadline_ms: u64) -> Prober {
    Prober::new(FeelConfig {
        feel_deadline_ms: deadline_ms,
        survey_every_s: 0,
        survey_shared_every_s: 0,
        ..FeelConfig::default()
    })
}

/// A deadline that a working server keeps also on a loaded machine.
pub(super) const GENEROUS_MS: u64 = 30_000;

/// Feels now.
pub(super) async fn feel(prober: &Prober, target: &Target) -> Observation {
    prober.feel(target, None, SystemClock.now()).await
}

/// Waits for a condition.
pub(super) async fn until(
    what: &str,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let waiting = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while !holds().await? {
            pause.tick().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .with_context(|| format!("never came true: {what}"))?
}
