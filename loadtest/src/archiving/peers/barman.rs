//! barman's programs for object stores, in an environment of their own.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use shared::process::{Account, Program, run_to_end};

use super::{Peers, version_of};
use crate::archiving::Common;
use crate::archiving::postgres::SUPERUSER;
use crate::archiving::store::{BUCKET, KEY_ID};
use crate::report::Report;

/// Found on this machine.
pub(crate) struct Barman {
    programs: PathBuf,
}

impl Barman {
    /// Looks for it.
    pub(crate) async fn find(common: &Common, report: &mut Report) -> Option<Self> {
        let programs = std::path::absolute(common.peers.join("barman/bin")).ok()?;
        let ask = Program::new(programs.join("barman-cloud-backup"), &Account::current());
        version_of("barman", ask.arg("--version"), common, report).await?;
        Some(Self { programs })
    }

    fn program(&self, name: &str, peers: &Peers<'_>) -> Program {
        Program::new(self.programs.join(name), &Account::current())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", peers.store.secret.expose())
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .args(["--endpoint-url", &format!("http://{}", peers.store.address)])
            .args(["--addressing-style", "path"])
    }

    /// A backup of `server`, made by two jobs and compressed by `compression`.
    pub(crate) async fn back_up(
        &self,
        peers: &Peers<'_>,
        server: &str,
        compression: &str,
    ) -> anyhow::Result<()> {
        let postgres = peers.server.postgres();
        let backup = self
            .program("barman-cloud-backup", peers)
            .args([
                &format!("--{compression}"),
                "--jobs",
                "2",
                "--immediate-checkpoint",
            ])
            .arg("--host")
            .arg(&postgres.sockets)
            .args(["--port", &postgres.port.to_string(), "--user", SUPERUSER])
            .args([&bucket(), server]);
        run_to_end(&backup).await?;
        Ok(())
    }

    /// The id of the only backup of `server`.
    pub(crate) async fn only_backup(
        &self,
        peers: &Peers<'_>,
        server: &str,
    ) -> anyhow::Result<String> {
        let list = self
            .program("barman-cloud-backup-list", peers)
            .args([&bucket(), server]);
        let list = run_to_end(&list).await?;
        let id = list
            .lines()
            .nth(1)
            .and_then(|row| row.split_whitespace().next());
        Ok(id
            .with_context(|| format!("no backup is in {list:?}"))?
            .to_owned())
    }

    /// Restores a backup into an empty directory.
    pub(crate) async fn restore(
        &self,
        peers: &Peers<'_>,
        (server, id): (&str, &str),
        to: &Path,
    ) -> anyhow::Result<()> {
        let restore = self
            .program("barman-cloud-restore", peers)
            .args([&bucket(), server, id])
            .arg(to);
        run_to_end(&restore).await?;
        Ok(())
    }
}

fn bucket() -> String {
    format!("s3://{BUCKET}/barman")
}
