//! Other programs that archive PostgreSQL, beside which ours is measured: as root, on the same
//! files, with the same object store. One that is not installed is left out, and the way to install
//! it is said.

mod barman;
mod pgbackrest;
mod wal_e;

pub(crate) use barman::Barman;
pub(crate) use pgbackrest::PgBackRest;
pub(crate) use wal_e::WalE;

use anyhow::Context as _;
use shared::process::{Program, run_to_end};
use tempfile::TempDir;

use super::{Common, Front, Server, Store};
use crate::progress::line;
use crate::report::Report;

/// How to install whatever is missing.
const ADVICE: &str = "scripts/install-backup-peers installs it";

/// What peers need: where the store is for them, and a directory for what they keep.
pub(crate) struct Peers<'a> {
    pub(crate) server: &'a Server,
    pub(crate) store: &'a Store,
    /// The store over TLS.
    front: Front,
    directory: TempDir,
}

impl<'a> Peers<'a> {
    pub(crate) async fn of(server: &'a Server, store: &'a Store) -> anyhow::Result<Self> {
        Ok(Self {
            server,
            store,
            front: Front::start(store.address).await?,
            directory: tempfile::tempdir().context("make a directory for peers")?,
        })
    }
}

/// The version of a peer, which is noted; null if it is not installed, which is said.
async fn version_of(
    name: &str,
    program: Program,
    common: &Common,
    report: &mut Report,
) -> Option<String> {
    if common.alone {
        return None;
    }
    match run_to_end(&program).await {
        Ok(text) => {
            let version = text.lines().last().unwrap_or_default().to_owned();
            report.version(name, version.clone());
            Some(version)
        }
        Err(error) => {
            line(&format!("{name} is left out ({error}): {ADVICE}"));
            report.version(name, "not installed");
            None
        }
    }
}
