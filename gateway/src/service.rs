//! A gateway process: its options, what it is made of, and its end.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use shared::clock::Clock;
use shared::config;
use shared::db::{self, gateways};
use shared::ids::GatewayId;
use shared::pki::stored;
use shared::process::{Account, exit_code, raise_file_limit};
use shared::secret::Secret;
use shared::telemetry::{self, Readiness};
use tokio_util::sync::CancellationToken;

use crate::bouncer::{self, Bouncer, Pooling, Settings, Start};
use crate::certificate::{Keeper, Source};
use crate::files::write_private;
use crate::options::GatewayOptions;
use crate::replica::{Replica, State};

/// Name of the process in logs and metrics.
const SERVICE: &str = "ringmaster-gateway";

/// The whole process, on a machine with this clock.
pub fn main(clock: Arc<dyn Clock>) -> ExitCode {
    exit_code(SERVICE, "the gateway", start(clock))
}

fn start(clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let options: GatewayOptions = config::parse()?;
    telemetry::init_logging(SERVICE, &options.log.log)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let work = telemetry::serve(
        (SERVICE, "the gateway"),
        options.metrics_listen,
        |readiness, stop| run(options, clock, readiness, stop),
    );
    let served = runtime.block_on(work);
    runtime.shutdown_background();
    served
}

/// Leads clients until `stop`. Then the bouncers end if they are to die together with the gateway;
/// else they go on as they are, and so do their clients.
///
/// # Errors
/// What kept it from starting. A control database that goes away later is waited for.
pub async fn run(
    options: GatewayOptions,
    clock: Arc<dyn Clock>,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut replica = build(&options, clock, readiness).await?;
    tracing::info!(gateway.id = %replica.identity.id, "leads clients");
    replica.run(stop).await;
    replica.readiness.set_not_ready("the gateway stops");
    if options.die_together {
        if let Err(error) = gateways::leave(&replica.pool, replica.identity.id).await {
            tracing::warn!(%error, "the control database does not know that this gateway leaves");
        }
        replica.session.end().await?;
        replica.transaction.end().await?;
    }
    Ok(())
}

async fn build(
    options: &GatewayOptions,
    clock: Arc<dyn Clock>,
    readiness: Readiness,
) -> anyhow::Result<Replica> {
    let vault = options.encryption_key.vault().map_err(anyhow::Error::msg)?;
    let mut connect = db::ConnectOptions::of(SERVICE);
    connect.max_connections = options.database.database_connections;
    let pool = db::connect(&options.database.database_url, &connect).await?;
    let authority = stored::load_or_make(&pool, &vault, clock.as_ref()).await?;
    let account = Account::for_postgres()?;
    let root = Root::open(&options.root)?;
    let bouncer = |pooling, port| {
        let settings = Settings {
            pooling,
            listen: options.listen,
            port,
            max_clients: options.max_clients,
            client_patience: options.client_patience,
        };
        let start = Start {
            program: options.pgbouncer.clone(),
            account: account.clone(),
            directory: bouncer::directory(&options.root, pooling),
            log: options
                .root
                .join(format!("{}.log", settings.pooling.name())),
            lifetime: bouncer::lifetime(options.die_together),
        };
        Bouncer::new(settings, start, root.password.clone())
    };
    let identity = gateways::NewGateway {
        id: root.id,
        host: options.public_host.clone(),
        session_port: options.told_session_port(),
        pooled_port: options.told_pooled_port(),
    };
    Ok(Replica {
        pool,
        vault,
        identity,
        certificates: Keeper::new(authority, clock, source(options)),
        session: bouncer(Pooling::Session, options.session_port),
        transaction: bouncer(Pooling::Transaction, options.pooled_port),
        readiness,
        state: State::default(),
        _lock: root.lock,
    })
}

fn source(options: &GatewayOptions) -> Source {
    let files = options.tls_certificate_file.clone();
    match files.zip(options.tls_key_file.clone()) {
        Some((certificate, key)) => Source::Files { certificate, key },
        None => Source::Authority {
            host: options.public_host.clone(),
        },
    }
}

/// What the directory of a replica remembers.
struct Root {
    id: GatewayId,
    /// Of the consoles.
    password: Secret,
    /// Held for as long as this process lives.
    lock: File,
}

impl Root {
    /// Reads it, or makes it.
    ///
    /// # Errors
    /// Another gateway has it: two of one id would acknowledge for one another.
    fn open(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        let lock = path.join("gateway.lock");
        let lock = File::create(&lock).with_context(|| format!("open {}", lock.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another gateway runs in {}: give each a directory of its own (--root)",
                path.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).context("lock the directory"),
        }
        let remembered = |name: &str, fresh: &dyn Fn() -> String| -> anyhow::Result<String> {
            let path = path.join(name);
            match fs::read_to_string(&path) {
                Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
                Ok(_) | Err(_) => {
                    let text = fresh();
                    write_private(&Account::current(), &path, &text)?;
                    Ok(text)
                }
            }
        };
        let id = remembered("gateway.id", &|| GatewayId::new().to_string())?;
        let password = remembered("console.password", &|| Secret::random().expose().to_owned())?;
        Ok(Self {
            id: id.parse()?,
            password: Secret::new(password),
            lock,
        })
    }
}
