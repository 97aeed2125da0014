//! The API and the worker: their environment.

use shared::secret::{Secret, Vault};

use super::Directory;
use super::child::{Child, sibling};
use super::leftovers::AGENT;
use super::state::{Ports, loopback};
use crate::failure::Failure;

/// What both need to know.
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
    ports: Ports,
) -> Result<Child, Failure> {
    let address = loopback(ports.worker);
    let mut environment = common(directory, connections);
    environment.extend([
        ("RINGMASTER_PROVIDER", "local".to_owned()),
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

fn common(directory: &Directory, connections: &Connections) -> Vec<(&'static str, String)> {
    let key = directory.encryption_key().display().to_string();
    vec![
        (
            "RINGMASTER_DATABASE_URL",
            connections.database.expose().to_owned(),
        ),
        (
            "RINGMASTER_REDIS_URL",
            connections.redis.expose().to_owned(),
        ),
        ("RINGMASTER_ENCRYPTION_KEY_FILE", key),
        ("RINGMASTER_LOG", connections.log.clone()),
    ]
}
