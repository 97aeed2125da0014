//! One `PgBouncer`, made to be what the table says, and looked at.

mod console;
mod ini;
mod process;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use futures::future::try_join_all;
use shared::domain::Traffic;
use shared::ids::ResourceId;
use shared::process::ProcessError;
use shared::secret::Secret;

use crate::certificate::Certificates;
use crate::files::write_private;
use crate::table::Lead;
use console::{Console, ConsoleError, ServerConnection, Shown};
use ini::Entry;
use process::Running;

pub(crate) use console::Load;
pub(crate) use ini::{Pooling, Settings};
pub(crate) use process::{Start, lifetime};

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
    /// Whether the running process has read the files as they are.
    is_loaded: bool,
}

impl Bouncer {
    /// One that does not run yet.
    pub(crate) fn new(settings: Settings, start: Start, password: Secret) -> Self {
        Self {
            settings,
            start,
            password,
            running: None,
            is_loaded: false,
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
        if self.write_files(leads, &entries, certificates)? {
            self.is_loaded = false;
        }
        self.ensure_running().await?;
        let Some((_, console)) = &mut self.running else {
            return Ok(Vec::new());
        };
        if !self.is_loaded {
            console.reload().await?;
        }
        let shown = console.databases().await?;
        check_taken_up(&entries, &shown)?;
        self.is_loaded = true;
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

    /// Tells whether any file is another one now.
    fn write_files(
        &self,
        leads: &BTreeMap<String, Lead>,
        entries: &BTreeMap<String, Entry>,
        certificates: &Certificates,
    ) -> Result<bool, BouncerError> {
        let account = &self.start.account;
        account.make_private_directory(&self.start.directory)?;
        account.check_reaches(&self.start.directory)?;
        let own = &certificates.own;
        let users = ini::users(&self.password, leads);
        // Users before databases: nobody is let in to a database without one.
        let files = [
            (ini::AUTHORITY, certificates.authority.as_ref()),
            (ini::KEY, own.key_pem.expose()),
            (ini::CERTIFICATE, own.certificate_pem.as_str()),
            (ini::USERS, users.as_str()),
            (ini::INI, &ini::ini(&self.settings, entries)),
        ];
        let mut changed = false;
        for (name, content) in files {
            changed |= write_private(account, &self.start.directory.join(name), content)?;
        }
        Ok(changed)
    }

    /// Takes over what a former gateway left, or starts it.
    async fn ensure_running(&mut self) -> Result<(), BouncerError> {
        if self.running.is_some() {
            return Ok(());
        }
        let (port, password) = (self.settings.port, &self.password);
        let console = |pid| Console::new(&process::sockets_of(pid), port, password);
        let pooling = self.settings.pooling.name();
        if let Some(left) = self.start.find()? {
            let mut console = console(left.pid());
            // One that listens elsewhere has no such socket, and is started anew.
            if console.ping().await.is_ok() {
                tracing::info!(pooling, pid = left.pid(), "took over a PgBouncer");
                self.is_loaded = false;
                self.running = Some((Running::Adopted(left), console));
                return Ok(());
            }
        }
        let running = self.start.start(console).await?;
        let pid = running.pid();
        tracing::info!(pooling, pid, "started a PgBouncer");
        let console = console(pid);
        self.is_loaded = true;
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
    match entries.iter().find(|entry| !taken_up(entry)) {
        None => Ok(()),
        Some((name, _)) => Err(BouncerError::NotTakenUp { name: name.clone() }),
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
    for (name, lead) in leads {
        let Some(shown) = shown.get(name) else {
            continue;
        };
        let is_stale = servers
            .iter()
            .any(|server| server.name == *name && is_elsewhere(server, lead));
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
