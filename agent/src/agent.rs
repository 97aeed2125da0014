//! The parts of an agent, put together.

use std::fs::{self, File};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use shared::agent_api::{InstanceStatus, Phase, PostgresStatus, StandbyStatus};
use shared::clock::Clock;
use shared::pki::{CertificateFacts, HotIdentity, Identity, server_name};
use shared::process::{Account, PostgresInstallations};
use shared::secret::Secret;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::archive::Archive;
use crate::backup::Backups;
use crate::board::Board;
use crate::check::Checks;
use crate::config::AgentOptions;
use crate::disk::{DiskProbe, FileDisk};
use crate::instance::Instance;
use crate::live::{Replay, Sampler};
use crate::paths::Paths;
use crate::restore;
use crate::store::Store;
use crate::transfer::Transfers;
use crate::wal::Joined;

/// Memory for WAL on its way to the archive, in bytes. (A segment of 64 MiB that is compared with
/// what is in the archive needs a little more, and then has it alone.)
const WAL_MEMORY_BYTES: usize = 160 * 1024 * 1024;

/// Memory for a backup on its way, in bytes: apart, so that a backup does not hold up WAL.
const BACKUP_MEMORY_BYTES: usize = 96 * 1024 * 1024;

/// Everything that the HTTP side and the instance share.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) options: AgentOptions,
    pub(crate) paths: Paths,
    /// Whom PostgreSQL runs as.
    pub(crate) account: Account,
    pub(crate) store: Store,
    pub(crate) board: Board,
    pub(crate) sampler: Sampler,
    /// The way to the archive for WAL.
    pub(crate) archive: Archive,
    /// How far WAL here is known to be what is archived.
    pub(crate) joined: Joined,
    pub(crate) backups: Backups,
    pub(crate) checks: Checks,
    pub(crate) transfers: Transfers,
    /// What is read for a restore, by the way for WAL, which is not pushed then.
    pub(crate) restore: restore::Board,
    pub(crate) installations: PostgresInstallations,
    pub(crate) boot_id: String,
    pub(crate) authority_pem: String,
    pub(crate) identity: Arc<HotIdentity>,
    /// Held while the file of the certificate is replaced.
    pub(crate) certificate_writer: Arc<Mutex<()>>,
    /// Tells the instance to look again.
    pub(crate) wake: Notify,
    disk: DiskProbe,
    started_at: DateTime<Utc>,
    /// Held as long as we manage the directory.
    _lock: File,
}

impl Agent {
    async fn assemble(options: AgentOptions, clock: &dyn Clock) -> anyhow::Result<Self> {
        let paths = Paths::below(&options.data_dir);
        let account = Account::for_postgres()?;
        fs::create_dir_all(paths.root()).context("make the data directory of the server")?;
        account.check_reaches(&paths.root().join("."))?;
        let lock = lock(&paths)?;
        let store = Store::open(&paths.state(), options.server_id)?;
        let authority_pem = fs::read_to_string(&options.ca).context("read --ca")?;
        let identity = read_identity(&options)?;
        let facts =
            CertificateFacts::read(&identity.certificate_pem).context("read --certificate")?;
        ensure!(
            facts.dns_names().contains(&server_name(options.server_id)),
            "--certificate is not for server {}",
            options.server_id
        );
        let boot_id = fs::read_to_string(&options.boot_id_file).context("read the boot id")?;
        let phase = if store.get().instruction.is_some() {
            Phase::Starting
        } else {
            Phase::Empty
        };
        Ok(Self {
            installations: PostgresInstallations::discover(&options.postgres_bin_dirs).await,
            disk: DiskProbe::start(FileDisk::open(&paths.probe()).context("open the disk probe")?)?,
            identity: HotIdentity::new(&identity).context("use --certificate and --key")?,
            boot_id: boot_id.trim().to_owned(),
            board: Board::showing(phase),
            sampler: Sampler::default(),
            archive: Archive::new(WAL_MEMORY_BYTES, processors()),
            joined: Joined::default(),
            backups: Backups::new(Archive::new(BACKUP_MEMORY_BYTES, processors() / 2)),
            checks: Checks::default(),
            transfers: Transfers::default(),
            restore: restore::Board::default(),
            started_at: clock.now(),
            wake: Notify::new(),
            certificate_writer: Arc::default(),
            _lock: lock,
            authority_pem,
            account,
            store,
            paths,
            options,
        })
    }

    fn standby(&self, replay: Replay) -> StandbyStatus {
        let why = || {
            let limits = restore::too_low_settings(&self.paths.log());
            limits.unwrap_or_else(|| "replay was paused by hand".to_owned())
        };
        StandbyStatus {
            receive_lsn: replay.received,
            replay_lsn: replay.replayed,
            replayed_commit_at: replay.replayed_commit_at,
            streams_from: replay.streams_from,
            paused: replay.is_paused.then(why),
        }
    }

    /// The certificate and key as they are on disk now.
    pub(crate) fn identity_on_disk(&self) -> anyhow::Result<Identity> {
        read_identity(&self.options)
    }

    /// What is held, what is done about it, and how PostgreSQL and the disk are.
    pub(crate) async fn status(&self) -> InstanceStatus {
        let facts = self.board.facts();
        let postgres = match facts.running {
            None => None,
            Some(running) => {
                let sample = self.sampler.sample(&self.paths.sockets(), &running).await;
                Some(PostgresStatus {
                    pid: running.pid,
                    started_at: running.started_at,
                    version: running.version,
                    system_identifier: running.system_identifier,
                    tli: running.tli,
                    wal_segment_bytes: running.wal_segment_bytes,
                    flush_lsn: sample.flush_lsn,
                    wal_wait_ms: sample.wal_wait_ms,
                    archive_slot: sample.archive_slot,
                    in_recovery: sample.in_recovery,
                    standby: sample.replay.map(|replay| self.standby(replay)),
                })
            }
        };
        let state = self.store.get();
        let instruction = state.instruction.as_ref();
        let restore = instruction
            .and_then(|instruction| instruction.spec.birth.restore())
            .map(|_| self.restore.status(state.restored));
        let trouble = restore.as_ref().and_then(|restore| restore.trouble.clone());
        InstanceStatus {
            server: self.options.server_id,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_started_at: self.started_at,
            boot_id: self.boot_id.clone(),
            participant: instruction.map(|instruction| instruction.spec.participant),
            generation: state.generation(),
            spec_digest: instruction.map(|instruction| instruction.digest.clone()),
            converged_generation: state.converged_generation,
            phase: facts.phase,
            postgres,
            crashes: state.crashes,
            last_error: facts
                .problem
                .or(trouble)
                .or_else(|| state.last_crash.clone()),
            disk: self.disk.status(),
            certificate_not_after: self.identity.not_after(),
            certificate_addresses: Some(self.identity.addresses()),
            restore,
            check: self.checks.status(),
        }
    }
}

/// Serves until `stop`, then ends the instance as its lifetime wants.
pub(crate) async fn serve(
    options: AgentOptions,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let agent = Arc::new(Agent::assemble(options, &*clock).await?);
    let listen = agent.options.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen on {listen}"))?;
    tracing::info!(%listen, server.id = %agent.options.server_id, "agent serves");
    let instance = Instance::new(Arc::clone(&agent)).run(stop.clone());
    let (served, ()) = tokio::join!(crate::http::serve(agent, listener, stop), instance);
    tracing::info!(at = "finish", "agent ends");
    served
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn lock(paths: &Paths) -> anyhow::Result<File> {
    let path = paths.lock();
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .context("open the lock of the data directory")?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another agent manages {}", paths.root().display());
    }
    Ok(file)
}

fn read_identity(options: &AgentOptions) -> anyhow::Result<Identity> {
    Ok(Identity {
        certificate_pem: fs::read_to_string(&options.certificate).context("read --certificate")?,
        key_pem: Secret::new(fs::read_to_string(&options.key).context("read --key")?),
    })
}
