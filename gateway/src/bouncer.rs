//! One `PgBouncer`, made to be what the table says, and looked at.

mod console;
mod ini;
mod listening;
mod process;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use futures::future::try_join_all;
use shared::domain::Traffic;
use shared::ids::ResourceId;
use shared::process::ProcessError;
use shared::secret::Secret;
use tokio::time::{Instant, sleep, timeout};

use crate::certificate::Certificates;
use crate::files::write_private;
use crate::table::Lead;
use console::{Console, ConsoleError, ServerConnection, Shown};
use ini::Entry;
use process::Running;

pub(crate) use console::Load;
pub(crate) use ini::{Pooling, Settings};
pub(crate) use process::{Start, lifetime};

/// How often in a row a console may be late before its process is taken to hang, and ended.
const LATE_UNTIL_ENDED: u32 = 3;

/// Least time between two orders to read the files: with ten thousand databases it takes a fifth of a
/// second in which nobody is served.
const RELOAD_PAUSE: Duration = Duration::from_millis(50);

/// A `PgBouncer` is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BouncerError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Console(#[from] ConsoleError),
    #[error("PgBouncer did not take up {name}: its log says why")]
    NotTakenUp { name: String },
}

/// One `PgBouncer`.
#[derive(Debug)]
pub(crate) struct Bouncer {
    settings: Settings,
    start: Start,
    password: Secret,
    running: Option<(Running, Console)>,
    /// Moment it was last told to read its files.
    reloaded_at: Option<Instant>,
    /// How often in a row its console did not answer in time.
    late: u32,
}

impl Bouncer {
    /// One that does not run yet.
    pub(crate) fn new(settings: Settings, start: Start, password: Secret) -> Self {
        Self {
            settings,
            start,
            password,
            running: None,
            reloaded_at: None,
            late: 0,
        }
    }

    /// How it gives connections to clients.
    pub(crate) fn pooling(&self) -> Pooling {
        self.settings.pooling
    }

    /// Whether it was started and not seen to end.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Returns when its process ends; never while none runs.
    pub(crate) async fn ended(&mut self) {
        let Some((running, _)) = &mut self.running else {
            return std::future::pending().await;
        };
        if let Err(error) = running.ended().await {
            tracing::warn!(%error, "PgBouncer cannot be watched");
        }
        let pooling = self.settings.pooling.name();
        tracing::warn!(pooling, "PgBouncer ended; it is started again");
        self.running = None;
    }

    /// Makes it lead as `leads` say, and tells the resources for which that is not in force yet,
    /// because clients have not left.
    ///
    /// # Errors
    /// [`BouncerError`]; some of it may be done then, and the next call does the rest.
    pub(crate) async fn converge(
        &mut self,
        leads: &BTreeMap<String, Lead>,
        certificates: &Certificates,
    ) -> Result<Vec<ResourceId>, BouncerError> {
        let entries = ini::entries(self.settings.pooling, leads);
        let mark = self.write_files(leads, &entries, certificates)?;
        self.ensure_running().await?;
        let converged = self.apply(leads, &entries, &mark).await;
        let is_late = matches!(&converged, Err(BouncerError::Console(error)) if error.is_late());
        self.late = if is_late { self.late + 1 } else { 0 };
        if self.late >= LATE_UNTIL_ENDED {
            tracing::error!(
                pooling = self.pooling().name(),
                "PgBouncer hangs; it is ended"
            );
            self.late = 0;
            self.end().await?;
        }
        converged
    }

    /// Has the files read, and gives the orders that make `leads` true.
    async fn apply(
        &mut self,
        leads: &BTreeMap<String, Lead>,
        entries: &BTreeMap<String, Entry>,
        mark: &str,
    ) -> Result<Vec<ResourceId>, BouncerError> {
        let Some((_, console)) = &mut self.running else {
            return Ok(Vec::new());
        };
        if console.mark().await? != mark {
            if let Some(at) = self.reloaded_at {
                sleep(RELOAD_PAUSE.saturating_sub(at.elapsed())).await;
            }
            self.reloaded_at = Some(Instant::now());
            console.reload().await?;
            if console.mark().await? != mark {
                return Err(BouncerError::NotTakenUp {
                    name: "its files".to_owned(),
                });
            }
        }
        let shown = console.databases().await?;
        check_taken_up(entries, &shown)?;
        let servers = console.servers().await?;
        settle(console, leads, &shown, &servers).await?;
        let shown = console.databases().await?;
        Ok(unsettled(leads, &shown))
    }

    /// What it has to do.
    ///
    /// # Errors
    /// [`BouncerError`] if it does not tell.
    pub(crate) async fn load(&mut self) -> Result<Load, BouncerError> {
        match &mut self.running {
            Some((_, console)) => Ok(console.load().await?),
            None => Ok(Load::default()),
        }
    }

    /// Ends it.
    pub(crate) async fn end(&mut self) -> Result<(), BouncerError> {
        self.running = None;
        Ok(self.start.end().await?)
    }

    /// Gives the mark of what the files say.
    fn write_files(
        &self,
        leads: &BTreeMap<String, Lead>,
        entries: &BTreeMap<String, Entry>,
        certificates: &Certificates,
    ) -> Result<String, BouncerError> {
        let account = &self.start.account;
        account.make_private_directory(&self.start.directory)?;
        account.check_reaches(&self.start.directory)?;
        let own = &certificates.own;
        let users = ini::users(&self.password, leads);
        let ini = ini::ini(&self.settings, entries);
        let certificate = own.certificate_pem.as_str();
        let mark = ini::mark_of(&[&ini, &users, certificate, &certificates.authority]);
        let ini = format!("{ini}{} = {mark}\n", ini::MARK);
        // Users before databases: nobody is let in to a database without one.
        let files = [
            (ini::AUTHORITY, certificates.authority.as_ref()),
            (ini::KEY, own.key_pem.expose()),
            (ini::CERTIFICATE, certificate),
            (ini::USERS, users.as_str()),
            (ini::INI, ini.as_str()),
        ];
        for (name, content) in files {
            write_private(account, &self.start.directory.join(name), content)?;
        }
        Ok(mark)
    }

    /// Takes over what a former gateway left, or starts it.
    async fn ensure_running(&mut self) -> Result<(), BouncerError> {
        // One that has ended is let go of here at the latest.
        drop(timeout(Duration::from_millis(1), self.ended()).await);
        if self.is_running() {
            return Ok(());
        }
        let (port, password) = (self.settings.port, &self.password);
        let place = (self.settings.listen, port);
        let console = |pid| Console::new(&process::sockets_of(pid), port, password);
        let pooling = self.settings.pooling.name();
        for left in self.start.left()? {
            let mut console = console(left.pid());
            // One that listens elsewhere has no such sockets, and is started anew.
            let serves = listening::listens(left.pid(), place)
                && (console.ping().await.is_ok() || console.ping().await.is_ok());
            if serves {
                tracing::info!(pooling, pid = left.pid(), "took over a PgBouncer");
                self.running = Some((Running::Adopted(left), console));
                return Ok(());
            }
        }
        let running = self.start.start(place, console).await?;
        let pid = running.pid();
        tracing::info!(pooling, pid, "started a PgBouncer");
        let console = console(pid);
        self.running = Some((running, console));
        Ok(())
    }
}

/// The console shows what the file says: reading it has no answer of its own.
fn check_taken_up(
    entries: &BTreeMap<String, Entry>,
    shown: &BTreeMap<String, Shown>,
) -> Result<(), BouncerError> {
    let taken_up = |(name, entry): &(&String, &Entry)| {
        shown.get(*name).is_some_and(|shown| shown.entry == **entry)
    };
    let missing = entries.iter().find(|entry| !taken_up(entry));
    let missing = missing.map(|(name, _)| name);
    let left = shown.keys().find(|name| !entries.contains_key(*name));
    match missing.or(left) {
        None => Ok(()),
        Some(name) => Err(BouncerError::NotTakenUp { name: name.clone() }),
    }
}

/// Gives the orders that make `leads` true.
async fn settle(
    console: &mut Console,
    leads: &BTreeMap<String, Lead>,
    shown: &BTreeMap<String, Shown>,
    servers: &[ServerConnection],
) -> Result<(), BouncerError> {
    let mut pauses = Vec::new();
    let mut by_name: BTreeMap<&str, Vec<&ServerConnection>> = BTreeMap::new();
    for server in servers {
        by_name.entry(&server.name).or_default().push(server);
    }
    for (name, lead) in leads {
        let Some(shown) = shown.get(name) else {
            continue;
        };
        let servers = by_name.get(name.as_str());
        let is_stale =
            servers.is_some_and(|servers| servers.iter().any(|server| is_elsewhere(server, lead)));
        let has_clients = !shown.paused || shown.connections > 0;
        let kill = is_stale || (lead.traffic == Traffic::Cut && has_clients);
        if kill {
            tracing::info!(resource.id = %lead.resource, is_stale, "cut clients off");
            console.kill(name).await?;
        }
        match lead.traffic {
            Traffic::Open if shown.paused || kill => console.resume(name).await?,
            Traffic::Paused if !shown.paused && !kill => pauses.push(name),
            Traffic::Open | Traffic::Paused | Traffic::Cut => {}
        }
    }
    let console = &*console;
    try_join_all(pauses.iter().map(|name| console.pause(name))).await?;
    Ok(())
}

/// Whether a connection is to another server than the route says. A name is not looked up: then
/// only the port tells.
fn is_elsewhere(server: &ServerConnection, lead: &Lead) -> bool {
    let host: Result<IpAddr, _> = lead.upstream.host.parse();
    let other_host = host.is_ok_and(|host| server.host.parse() != Ok(host));
    other_host || server.port != lead.upstream.port
}

/// Resources whose clients are not yet treated as their routes say.
fn unsettled(leads: &BTreeMap<String, Lead>, shown: &BTreeMap<String, Shown>) -> Vec<ResourceId> {
    let is_settled = |name: &str, lead: &Lead| {
        shown.get(name).is_some_and(|shown| match lead.traffic {
            Traffic::Open => !shown.paused,
            Traffic::Paused | Traffic::Cut => shown.paused && shown.connections == 0,
        })
    };
    let leads = leads.iter().filter(|(name, lead)| !is_settled(name, lead));
    leads.map(|(_, lead)| lead.resource).collect()
}

/// The directory of a `PgBouncer` below that of its gateway.
pub(crate) fn directory(root: &Path, pooling: Pooling) -> std::path::PathBuf {
    root.join(pooling.name())
}
