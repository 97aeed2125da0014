//! What the scenarios about the archive share: an object store, a server whose agent is measured,
//! what a worker does for it, and peers that do the same on the same machine with the same store.

mod backing_up;
pub(crate) mod database;
mod front;
pub(crate) mod peers;
pub(crate) mod postgres;
mod pushing;
mod rates;
mod restoring;
mod server;
mod store;

pub(crate) use backing_up::back_up;
pub(crate) use front::Front;
pub(crate) use peers::{Barman, Peers, PgBackRest, WalE};
pub(crate) use pushing::Pusher;
pub(crate) use rates::Rates;
pub(crate) use restoring::{Seen, restore, source as restore_source};
pub(crate) use server::Server;
pub(crate) use store::{BUCKET, KEY_ID, Store};

use std::path::PathBuf;

use anyhow::ensure;

/// Bytes of a mebibyte.
pub(crate) const MIB: u64 = 1024 * 1024;

/// The programs that take part.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Programs {
    /// The program `ringmaster-agent` [default: the one beside this program].
    #[arg(long = "agent-binary", value_name = "FILE")]
    agent: Option<PathBuf>,

    /// The program `ringmaster-api` [default: the one beside this program].
    #[arg(long = "api-binary", value_name = "FILE")]
    api: Option<PathBuf>,

    /// The program `ringmaster-object-store` [default: the one beside this program].
    #[arg(long = "object-store-binary", value_name = "FILE")]
    object_store: Option<PathBuf>,

    /// The program `ringmaster-worker` [default: the one beside this program].
    #[arg(long = "worker-binary", value_name = "FILE")]
    worker: Option<PathBuf>,
}

/// What all scenarios about the archive can be told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) programs: Programs,

    /// Where `scripts/install-backup-peers` has put barman and WAL-E.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/peers")]
    pub(crate) peers: PathBuf,

    /// Leaves the peers out.
    #[arg(long)]
    pub(crate) alone: bool,

    /// How often each is measured, in turns; the median counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
}

impl Programs {
    /// Starts the object store.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        Store::start(&program(
            self.object_store.as_ref(),
            "ringmaster-object-store",
        )?)
        .await
    }

    /// The program of the agent.
    pub(crate) fn agent(&self) -> anyhow::Result<PathBuf> {
        program(self.agent.as_ref(), "ringmaster-agent")
    }

    /// The program of the API.
    pub(crate) fn api(&self) -> anyhow::Result<PathBuf> {
        program(self.api.as_ref(), "ringmaster-api")
    }

    /// The program of the worker.
    pub(crate) fn worker(&self) -> anyhow::Result<PathBuf> {
        program(self.worker.as_ref(), "ringmaster-worker")
    }
}

fn program(given: Option<&PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(file) => std::path::absolute(file)?,
        None => std::env::current_exe()?.with_file_name(name),
    };
    let shown = path.display();
    ensure!(
        path.is_file(),
        "{shown} is not there; build it with the same profile, or say where it is"
    );
    Ok(path)
}
