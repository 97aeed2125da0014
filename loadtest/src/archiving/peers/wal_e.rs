//! WAL-E, in an environment of its own.

use std::path::{Path, PathBuf};

use shared::process::{Account, Program, run_to_end};

use super::{Peers, version_of};
use crate::archiving::Common;
use crate::archiving::store::{BUCKET, KEY_ID};
use crate::report::Report;

/// Found on this machine.
pub(crate) struct WalE {
    program: PathBuf,
}

impl WalE {
    /// Looks for it.
    pub(crate) async fn find(common: &Common, report: &mut Report) -> Option<Self> {
        let program = std::path::absolute(common.peers.join("wal-e/bin/wal-e")).ok()?;
        let ask = Program::new(&program, &Account::current()).arg("version");
        version_of("wal-e", ask, common, report).await?;
        Some(Self { program })
    }

    /// `archive_command`, with 32 segments at once: this one and others that are ready.
    pub(crate) async fn push(
        &self,
        peers: &Peers<'_>,
        prefix: &str,
        segment: &Path,
    ) -> anyhow::Result<()> {
        let push = Program::new(&self.program, &Account::current())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", peers.store.secret.expose())
            .env("AWS_REGION", "us-east-1")
            .env(
                "WALE_S3_ENDPOINT",
                format!("http+path://{}", peers.store.address),
            )
            .env("WALE_S3_PREFIX", format!("s3://{BUCKET}/{prefix}"))
            .env("WALE_LOG_DESTINATION", "stderr")
            .args(["--terse", "wal-push", "--pool-size", "32"])
            .arg(segment);
        run_to_end(&push).await?;
        Ok(())
    }
}
