//! How the data directory comes to be.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use shared::agent_api::{InstanceSpec, Phase};
use shared::process::Initdb;

use super::{Instance, Progress};
use crate::render::BOOTSTRAP_ROLE;

/// Where an attempt that is not finished works.
pub(super) fn unfinished(data: &Path) -> PathBuf {
    Initdb::unfinished(data)
}

impl Instance {
    /// Makes the data directory, unless it is there: it only gets its name when all of it is on
    /// the disk. From then on it is remembered as born and never made again.
    pub(super) async fn be_born(&mut self, spec: &InstanceSpec) -> anyhow::Result<Progress> {
        let data = self.agent.paths.data();
        let postgres_major = spec.birth.postgres_major();
        if !data.exists() {
            self.agent.board.enter(Phase::Creating);
            let binaries = self.agent.installations.find(postgres_major)?;
            let initdb = Initdb {
                superuser: BOOTSTRAP_ROLE,
                password: None,
                // The file of rules it makes is not used, but shall not let anybody in either.
                arguments: &["--auth-host", "scram-sha-256"],
            };
            initdb
                .run(binaries, &self.agent.account, &data)
                .await
                .context("make the database")?;
        }
        check_major(&data, postgres_major)?;
        self.agent.store.set(|state| state.born = true).await?;
        Ok(Progress::Again)
    }
}

pub(super) fn check_major(data: &Path, wanted: u16) -> anyhow::Result<()> {
    let found = std::fs::read_to_string(data.join("PG_VERSION")).context("read PG_VERSION")?;
    if found.trim() != wanted.to_string() {
        bail!("the data is of PostgreSQL {}, not {wanted}", found.trim());
    }
    Ok(())
}
