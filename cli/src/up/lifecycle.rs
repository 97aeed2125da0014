//! Start in order, stay, end in the reverse order.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use shared::process::{Account, PostgresInstallations};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::announce::announcement;
use super::control_plane::{self, Connections};
use super::engines::{ControlPostgres, Redis};
use super::leftovers::{count_servers, end_servers};
use super::lock::Lock;
use super::state::{Ports, loopback};
use super::supervisor::{Service, Supervised};
use super::{Directory, log_files, remote, token};
use crate::failure::{Failure, FailureKind};
use crate::progress::Progress;
use crate::screen::{note, say};

/// Longest time to wait for servers of the last run to be back.
const SERVERS_PATIENCE: Duration = Duration::from_secs(5);

/// Time between two looks at them.
const LOOK: Duration = Duration::from_millis(50);

/// What `up` is asked for.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// The directory that holds everything.
    pub directory: PathBuf,
    /// Port of the API; `None` keeps the last one, or chooses a free one.
    pub port: Option<u16>,
    /// Filter of the logs of API, worker and agents.
    pub log: String,
}

/// Starts everything, stays until SIGINT, SIGTERM or SIGHUP, and ends everything.
///
/// # Errors
/// [`Failure`] if something does not start; then everything that did is ended again.
pub async fn run(options: &UpOptions) -> Result<(), Failure> {
    let account = Account::for_postgres().map_err(no_postgres)?;
    let directory = Directory::open_or_create(&options.directory, &account)?;
    let _lock = Lock::take(&directory)?;
    let mut told_to_stop = StopSignals::listen()?;
    remote::forget_ready(&directory)?;
    note(format!("ringmaster up in {}", directory.shown().display()));

    let mut system = System::new(directory);
    let started = tokio::select! {
        started = system.start(options, &account) => started,
        () = told_to_stop.received() => {
            Err(Failure::new(FailureKind::Failed, "told to stop before everything was up"))
        }
    };
    if started.is_ok() {
        told_to_stop.received().await;
        note("\nstopping (the databases are shut down in good order) …");
    }
    let ended = system.end().await;
    started.and(ended)
}

/// The signals that end `up`.
struct StopSignals([Signal; 3]);

impl StopSignals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::during("listen for signals to stop"));
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn received(&mut self) {
        let Self([interrupt, terminate, hangup]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Everything that runs, in the order of its start.
struct System {
    directory: Directory,
    engines: Vec<Supervised>,
    api: Option<Supervised>,
    gateway: Option<Supervised>,
    worker: Option<Supervised>,
    stop_tasks: CancellationToken,
    tasks: JoinSet<()>,
}

impl System {
    fn new(directory: Directory) -> Self {
        Self {
            directory,
            engines: Vec::new(),
            api: None,
            gateway: None,
            worker: None,
            stop_tasks: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    async fn start(&mut self, options: &UpOptions, account: &Account) -> Result<(), Failure> {
        let directory = self.directory.clone();
        self.prepare_directories()?;
        control_plane::encryption_key(&directory)?;
        let mut ports = Ports::remembered(&directory);
        ports.api = options.port.unwrap_or(ports.api);
        let ports = ports.settled()?;
        if options.port.is_some_and(|port| port != ports.api) {
            return Err(port_taken(options.port.unwrap_or_default()));
        }

        let installations = PostgresInstallations::discover(&[]).await;
        let binaries = installations.newest().map_err(no_postgres)?.clone();
        let version = binaries.version.to_string();
        let postgres = ControlPostgres::new(&directory, binaries, account.clone(), ports.postgres)?;
        let redis = Redis::new(&directory, ports.redis)?;
        let connections = Connections {
            database: postgres.url(),
            redis: redis.url(),
            log: options.log.clone(),
        };
        let secret = control_plane::archive_secret(&directory)?;
        let objects = control_plane::object_store(&directory, &secret, &options.log, ports)?;
        let api = control_plane::api(&directory, &connections, ports)?;
        let gateway = control_plane::gateway(&directory, &connections, ports)?;
        let worker = control_plane::worker(&directory, &connections, &secret, ports)?;

        let place = format!("PostgreSQL {version} at {}", loopback(ports.postgres));
        self.engines
            .push(phase("control database", place, Supervised::start(postgres)).await?);
        let place = format!("Redis at {}", loopback(ports.redis));
        self.engines
            .push(phase("queue", place, Supervised::start(redis)).await?);
        self.engines
            .push(start_child(objects, ports.object_store).await?);
        let migrated = token::migrate_and_ensure(&directory, &connections.database, ports);
        phase(
            "tables and token",
            directory.token().display().to_string(),
            migrated,
        )
        .await?;
        ports.remember(&directory)?;

        self.api = Some(start_child(api, ports.api).await?);
        self.gateway = Some(start_child(gateway, ports.gateway).await?);
        self.worker = Some(start_child(worker, ports.worker).await?);
        self.until_servers_are_back().await;
        say(announcement(&directory, ports))?;
        remote::remember_ready(&directory)
    }

    /// The worker brings the servers of the last run back by itself; usually that takes a moment,
    /// and whoever uses a database next would meet it. One that takes longer is not waited for.
    async fn until_servers_are_back(&self) {
        let servers = self.directory.servers();
        let (all, mut running) = count_servers(&servers);
        if all == 0 {
            return;
        }
        let progress = Progress::begin("servers");
        let deadline = Instant::now() + SERVERS_PATIENCE;
        while running < all && Instant::now() < deadline {
            sleep(LOOK).await;
            running = count_servers(&servers).1;
        }
        progress.done(format!("{running} of {all} run"));
    }

    fn prepare_directories(&mut self) -> Result<(), Failure> {
        for name in ["log", "servers"] {
            let path = self.directory.join(name);
            std::fs::create_dir_all(&path)
                .map_err(Failure::during(format!("make {}", path.display())))?;
        }
        let bounded = log_files::keep_bounded(self.directory.clone(), self.stop_tasks.clone());
        self.tasks.spawn(bounded);
        Ok(())
    }

    /// Ends everything: first who gives orders, then who serves, last who remembers.
    async fn end(mut self) -> Result<(), Failure> {
        self.stop_tasks.cancel();
        remote::forget_ready(&self.directory)?;
        if let Some(worker) = self.worker.take() {
            stopping("worker", worker.stop()).await;
        }
        if let Some(api) = self.api.take() {
            stopping("API", api.stop()).await;
        }
        if let Some(gateway) = self.gateway.take() {
            stopping("gateway", gateway.stop()).await;
        }
        // Also when no worker got ready: it may have started some before.
        let progress = Progress::begin("stopping servers");
        let servers = end_servers(&self.directory.servers()).await;
        match &servers {
            Ok(()) => progress.done(""),
            Err(_) => progress.given_up(),
        }
        while let Some(engine) = self.engines.pop() {
            stopping(engine.name(), engine.stop()).await;
        }
        self.tasks.join_all().await;
        servers
    }
}

async fn start_child(child: impl Service, port: u16) -> Result<Supervised, Failure> {
    let place = format!("http://{}", loopback(port));
    phase(child.name(), place, Supervised::start(child)).await
}

async fn phase<T>(
    what: &str,
    place: String,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let progress = Progress::begin(what);
    let result = work.await;
    match &result {
        Ok(_) => progress.done(place),
        Err(_) => progress.given_up(),
    }
    result
}

async fn stopping(what: &str, work: impl Future<Output = ()>) {
    let progress = Progress::begin(format!("stopping {what}"));
    work.await;
    progress.done("");
}

fn no_postgres(error: shared::process::ProcessError) -> Failure {
    Failure::from(error).advise("install what is missing with: scripts/install-packages")
}

fn port_taken(port: u16) -> Failure {
    Failure::new(
        FailureKind::Conflict,
        format!("port {port} of 127.0.0.1 is taken"),
    )
    .advise("choose another with --port, or leave it out to get a free one")
}
