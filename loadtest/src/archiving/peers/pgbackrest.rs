//! pgBackRest, of the distribution.

use std::fs;
use std::path::{Path, PathBuf};

use shared::process::{Account, Program, run_to_end};

use super::{Peers, version_of};
use crate::archiving::Common;
use crate::archiving::postgres::SUPERUSER;
use crate::archiving::store::{BUCKET, KEY_ID};
use crate::report::Report;

/// Found on this machine.
pub(crate) struct PgBackRest;

/// A repository of its own, with a stanza for the server that is measured.
pub(crate) struct Stanza {
    config: PathBuf,
}

impl PgBackRest {
    /// Looks for it.
    pub(crate) async fn find(common: &Common, report: &mut Report) -> Option<Self> {
        let ask = Program::new("pgbackrest", &Account::current()).arg("version");
        version_of("pgbackrest", ask, common, report).await?;
        Some(Self)
    }

    /// Makes a repository called `name`: two processes, asynchronous, compressed by `compression`.
    pub(crate) async fn stanza(
        &self,
        peers: &Peers<'_>,
        name: &str,
        compression: &str,
    ) -> anyhow::Result<Stanza> {
        let below = peers.directory.path().join(name);
        for directory in ["spool", "lock", "log"] {
            fs::create_dir_all(below.join(directory))?;
        }
        let config = below.join("pgbackrest.conf");
        fs::write(&config, text(peers, &below, compression))?;
        let stanza = Stanza { config };
        run_to_end(&stanza.command("stanza-create")).await?;
        Ok(stanza)
    }
}

/// The configuration: as its documentation advises, and nothing that slows it down.
fn text(peers: &Peers<'_>, below: &Path, compression: &str) -> String {
    let (data, postgres) = (peers.server.data(), peers.server.postgres());
    let (below, data) = (below.display(), data.display());
    let (sockets, port) = (postgres.sockets.display(), postgres.port);
    let (secret, front) = (peers.store.secret.expose(), peers.front.port);
    format!(
        "[global]\n\
        repo1-type=s3\n\
        repo1-path=/pgbackrest{below}\n\
        repo1-s3-bucket={BUCKET}\n\
        repo1-s3-endpoint=127.0.0.1\n\
        repo1-s3-region=us-east-1\n\
        repo1-s3-key={KEY_ID}\n\
        repo1-s3-key-secret={secret}\n\
        repo1-s3-uri-style=path\n\
        repo1-storage-host=127.0.0.1\n\
        repo1-storage-port={front}\n\
        repo1-storage-verify-tls=n\n\
        process-max=2\n\
        compress-type={compression}\n\
        archive-async=y\n\
        archive-check=n\n\
        start-fast=y\n\
        spool-path={below}/spool\n\
        lock-path={below}/lock\n\
        log-path={below}/log\n\
        log-level-console=error\n\
        log-level-file=off\n\
        [main]\n\
        pg1-path={data}\n\
        pg1-socket-path={sockets}\n\
        pg1-port={port}\n\
        pg1-user={SUPERUSER}\n"
    )
}

impl Stanza {
    fn command(&self, name: &str) -> Program {
        Program::new("pgbackrest", &Account::current())
            .arg("--config")
            .arg(&self.config)
            .args(["--stanza=main", name])
    }

    /// `archive_command`: PostgreSQL runs it for each segment, one after the other. Everything that
    /// is ready meanwhile is pushed in the background.
    pub(crate) async fn push(&self, segment: &Path) -> anyhow::Result<()> {
        run_to_end(&self.command("archive-push").arg(segment)).await?;
        Ok(())
    }

    /// A full backup.
    pub(crate) async fn back_up(&self) -> anyhow::Result<()> {
        run_to_end(&self.command("backup").arg("--type=full")).await?;
        Ok(())
    }

    /// Restores the newest backup into an empty directory.
    pub(crate) async fn restore(&self, to: &Path) -> anyhow::Result<()> {
        let mut path = std::ffi::OsString::from("--pg1-path=");
        path.push(to);
        run_to_end(&self.command("restore").arg(path)).await?;
        Ok(())
    }
}
