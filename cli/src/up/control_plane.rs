//! Our own programs: their environment.

use shared::secret::{Secret, Vault};

use super::Directory;
use super::child::{Child, sibling};
use super::leftovers::AGENT;
use super::state::{Ports, loopback};
use crate::failure::Failure;

/// Name of the object store's program.
const OBJECT_STORE: &str = "ringmaster-object-store";

/// Access key id at the object store; the secret is what protects it.
const ACCESS_KEY_ID: &str = "ringmaster";

/// Bucket of the archive.
const BUCKET: &str = "ringmaster";

/// What API and worker need to know.
#[derive(Debug)]
pub(super) struct Connections {
    /// URL of the control database.
    pub database: Secret,
    /// URL of the queue.
    pub redis: Secret,
    /// Filter of their logs.
    pub log: String,
}

/// Makes the key that encrypts secrets in the control database, unless it exists.
pub(super) fn encryption_key(directory: &Directory) -> Result<(), Failure> {
    directory
        .lasting_secret("encryption.key", Vault::random_key)
        .map(drop)
}

/// The key of the archive. It may be made anew at any start: what it signs is good for minutes.
pub(super) fn archive_secret(directory: &Directory) -> Result<Secret, Failure> {
    directory.secret("archive.secret", Secret::random)
}

/// The object store, on its port, with the bucket of the archive.
pub(super) fn object_store(
    directory: &Directory,
    secret: &Secret,
    log: &str,
    ports: Ports,
) -> Result<Child, Failure> {
    let address = loopback(ports.object_store);
    let root = directory.objects().display().to_string();
    let environment = [
        ("RINGMASTER_OBJECT_STORE_ROOT", root),
        ("RINGMASTER_OBJECT_STORE_LISTEN", address.to_string()),
        ("RINGMASTER_OBJECT_STORE_BUCKET", BUCKET.to_owned()),
        (
            "RINGMASTER_OBJECT_STORE_ACCESS_KEY_ID",
            ACCESS_KEY_ID.to_owned(),
        ),
        (
            "RINGMASTER_OBJECT_STORE_SECRET_ACCESS_KEY",
            secret.expose().to_owned(),
        ),
        ("RINGMASTER_LOG", log.to_owned()),
    ];
    Child::new(
        OBJECT_STORE,
        &environment,
        directory.log("object-store"),
        address,
    )
}

/// Where the worker finds the archive. The store does not encrypt: its files lie on the same disks
/// as the databases themselves.
fn archive(secret: &Secret, ports: Ports) -> [(&'static str, String); 6] {
    let endpoint = format!("http://{}", loopback(ports.object_store));
    [
        ("RINGMASTER_ARCHIVE_BUCKET", BUCKET.to_owned()),
        ("RINGMASTER_ARCHIVE_ENDPOINT", endpoint),
        ("RINGMASTER_ARCHIVE_PATH_STYLE", true.to_string()),
        ("RINGMASTER_ARCHIVE_ENCRYPTION", "none".to_owned()),
        ("RINGMASTER_ARCHIVE_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
        (
            "RINGMASTER_ARCHIVE_SECRET_ACCESS_KEY",
            secret.expose().to_owned(),
        ),
    ]
}

/// The API, on its port.
pub(super) fn api(
    directory: &Directory,
    connections: &Connections,
    ports: Ports,
) -> Result<Child, Failure> {
    let mut environment = common(directory, connections);
    environment.push(("RINGMASTER_LISTEN", loopback(ports.api).to_string()));
    Child::new(
        "ringmaster-api",
        &environment,
        directory.log("api"),
        loopback(ports.api),
    )
}

/// The worker, with agents as processes of this machine.
pub(super) fn worker(
    directory: &Directory,
    connections: &Connections,
    archive_secret: &Secret,
    ports: Ports,
) -> Result<Child, Failure> {
    let address = loopback(ports.worker);
    let mut environment = common(directory, connections);
    environment.extend(archive(archive_secret, ports));
    environment.extend([
        ("RINGMASTER_PROVIDER", "local".to_owned()),
        ("RINGMASTER_ENDPOINT", "gateway".to_owned()),
        (
            "RINGMASTER_LOCAL_ROOT",
            directory.servers().display().to_string(),
        ),
        (
            "RINGMASTER_AGENT_BINARY",
            sibling(AGENT)?.display().to_string(),
        ),
        ("RINGMASTER_SUPERVISOR_PID", std::process::id().to_string()),
        ("RINGMASTER_METRICS_LISTEN", address.to_string()),
    ]);
    Child::new(
        "ringmaster-worker",
        &environment,
        directory.log("worker"),
        address,
    )
}

/// The gateway, which clients of databases connect to.
pub(super) fn gateway(
    directory: &Directory,
    connections: &Connections,
    ports: Ports,
) -> Result<Child, Failure> {
    let address = loopback(ports.gateway);
    let mut environment = with_database(directory, connections);
    environment.extend([
        (
            "RINGMASTER_GATEWAY_ROOT",
            directory.gateway().display().to_string(),
        ),
        ("RINGMASTER_SESSION_PORT", ports.sessions.to_string()),
        ("RINGMASTER_POOLED_PORT", ports.pooled.to_string()),
        ("RINGMASTER_METRICS_LISTEN", address.to_string()),
        ("RINGMASTER_PGBOUNCER_DIES_WITH_GATEWAY", true.to_string()),
    ]);
    Child::new(
        "ringmaster-gateway",
        &environment,
        directory.log("gateway"),
        address,
    )
}

/// What every process knows that works with the control database.
fn with_database(directory: &Directory, connections: &Connections) -> Vec<(&'static str, String)> {
    let key = directory.encryption_key().display().to_string();
    vec![
        (
            "RINGMASTER_DATABASE_URL",
            connections.database.expose().to_owned(),
        ),
        ("RINGMASTER_ENCRYPTION_KEY_FILE", key),
        ("RINGMASTER_LOG", connections.log.clone()),
    ]
}

/// The same for one that works with the queue, too.
fn common(directory: &Directory, connections: &Connections) -> Vec<(&'static str, String)> {
    let mut environment = with_database(directory, connections);
    let redis = connections.redis.expose().to_owned();
    environment.push(("RINGMASTER_REDIS_URL", redis));
    environment
}
