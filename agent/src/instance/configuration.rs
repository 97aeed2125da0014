//! PostgreSQL's configuration files: written when they differ, loaded when they changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use shared::agent_api::{HbaRule, InstanceSpec};
use shared::ids::ServerId;
use shared::process::{FAST_END, Program, run_to_end};
use sqlx::Connection as _;
use sqlx::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use super::{Instance, is_past};
use crate::live::connect_locally;
use crate::render::{
    AUTHORITY, CERTIFICATE, CONFIGURATION, HBA, IDENT, KEY, changed_settings, pg_hba_conf,
    pg_ident_conf, postgresql_conf,
};
use crate::store::Standing;

/// Longest time from a signal to PostgreSQL having read its files again.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);

/// Which of some settings PostgreSQL reads only when it starts.
const READ_AT_START: &str = "
    select exists (select from pg_settings where context = 'postmaster' and name = any($1))";

/// Files below the configuration directory: name to content.
type Files = BTreeMap<&'static str, String>;

impl Instance {
    /// Brings the files and the running PostgreSQL to what `spec` says. False if PostgreSQL was
    /// stopped for it, because a setting that changed is read only at start.
    pub(super) async fn settle_configuration(
        &mut self,
        spec: &InstanceSpec,
    ) -> anyhow::Result<bool> {
        let wanted = self.render(spec)?;
        let changed = self.changed(&wanted)?;
        if changed.is_empty() && self.loaded {
            return Ok(true);
        }
        let port = self
            .postmaster
            .as_ref()
            .map_or(spec.port, super::Postmaster::port);
        let mut connection = timeout(
            RELOAD_PATIENCE,
            connect_locally(&self.agent.paths.sockets(), port),
        )
        .await
        .context("PostgreSQL does not answer")??;
        if let Some(new) = changed.get(CONFIGURATION) {
            self.check_configuration(spec, new).await?;
            let old = self.on_disk(CONFIGURATION)?.unwrap_or_default();
            let names = changed_settings(&old, new);
            let (must_restart,): (bool,) = sqlx::query_as(READ_AT_START)
                .bind(&names)
                .fetch_one(&mut connection)
                .await?;
            if must_restart {
                tracing::info!(
                    settings = names.join(","),
                    "PostgreSQL restarts for new settings"
                );
                drop(connection);
                self.stop(FAST_END).await?;
                return Ok(false);
            }
        }
        self.write(&changed)?;
        self.loaded = false;
        reload(&mut connection).await?;
        self.loaded = true;
        let files: Vec<&str> = changed.keys().copied().collect();
        tracing::info!(
            files = files.join(","),
            "PostgreSQL has read its configuration"
        );
        connection.close().await?;
        Ok(true)
    }

    /// Writes all files, for a PostgreSQL that does not run.
    pub(super) async fn write_configuration(&self, spec: &InstanceSpec) -> anyhow::Result<()> {
        self.agent
            .account
            .make_private_directory(&self.agent.paths.configuration())?;
        let wanted = self.render(spec)?;
        let changed = self.changed(&wanted)?;
        if let Some(new) = changed.get(CONFIGURATION) {
            self.check_configuration(spec, new).await?;
        }
        self.write(&changed)
    }

    fn render(&self, spec: &InstanceSpec) -> anyhow::Result<Files> {
        let identity = self.agent.identity_on_disk()?;
        let state = self.agent.store.get();
        // Nobody is let in before a restore has reached its target, and only the spec's roles are
        // left that may log in; nor while a follower is promoted. Who follows lets in whom the leader
        // would.
        let rules: (&[HbaRule], &[ServerId]) =
            if state.restoring().is_none() || state.standing == Standing::Follows {
                (&spec.hba, &spec.streamers)
            } else {
                (&[], &[])
            };
        Ok(BTreeMap::from([
            (
                CONFIGURATION,
                postgresql_conf(spec, &self.agent.paths.configuration()),
            ),
            (HBA, pg_hba_conf(rules.0, rules.1)),
            (IDENT, pg_ident_conf(rules.1)),
            (AUTHORITY, self.agent.authority_pem.clone()),
            (CERTIFICATE, identity.certificate_pem),
            (KEY, identity.key_pem.expose().to_owned()),
        ]))
    }

    fn changed(&self, wanted: &Files) -> anyhow::Result<Files> {
        let mut changed = Files::new();
        for (name, content) in wanted {
            if self.on_disk(name)?.as_ref() != Some(content) {
                changed.insert(name, content.clone());
            }
        }
        Ok(changed)
    }

    fn on_disk(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.agent.paths.configuration().join(name);
        match fs::read_to_string(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Lets PostgreSQL read a new `postgresql.conf` without using it: a bad one must not replace
    /// one that works.
    async fn check_configuration(&self, spec: &InstanceSpec, new: &str) -> anyhow::Result<()> {
        let candidate = self.agent.paths.configuration().join("candidate.conf");
        self.write_file(&candidate, new)?;
        let program = Program::new(
            self.binaries(spec)?.program("postgres"),
            &self.agent.account,
        )
        .arg("-D")
        .arg(self.agent.paths.data())
        .arg("-c")
        .arg(format!("config_file={}", candidate.display()))
        .args(["-C", "data_directory"]);
        run_to_end(&program)
            .await
            .context("settings: PostgreSQL does not accept them")?;
        fs::remove_file(&candidate).context("remove the checked configuration")
    }

    fn write(&self, files: &Files) -> anyhow::Result<()> {
        for (name, content) in files {
            self.write_file(&self.agent.paths.configuration().join(name), content)?;
        }
        Ok(())
    }

    /// Replaces a file at once, readable only by PostgreSQL's user. It needs no sync: it is
    /// compared and written again by every agent that starts.
    fn write_file(&self, path: &Path, content: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let new = path.with_added_extension("new");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)
            .with_context(|| format!("write {}", new.display()))?;
        file.write_all(content.as_bytes())?;
        self.agent.account.give(&new)?;
        fs::rename(&new, path).with_context(|| format!("write {}", path.display()))
    }
}

/// Tells PostgreSQL to read its files again, and waits until this session has.
async fn reload(connection: &mut PgConnection) -> anyhow::Result<()> {
    const LOADED_AT: &str = "select extract(epoch from pg_conf_load_time())::float8";
    let (before,): (f64,) = sqlx::query_as(LOADED_AT)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query("select pg_reload_conf()")
        .execute(&mut *connection)
        .await?;
    let deadline = Instant::now() + RELOAD_PATIENCE;
    loop {
        let (after,): (f64,) = sqlx::query_as(LOADED_AT)
            .fetch_one(&mut *connection)
            .await?;
        if after > before {
            return Ok(());
        }
        anyhow::ensure!(
            !is_past(deadline),
            "PostgreSQL does not read its configuration"
        );
        sleep(Duration::from_millis(10)).await;
    }
}
