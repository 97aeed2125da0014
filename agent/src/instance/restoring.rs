//! An instance that is born from the archive: its files, recovery up to the target, and the proof
//! that it was reached. Only then it is an instance as any other.

use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::SecondsFormat;
use shared::agent_api::restore::{RestoreSource, Target};
use shared::agent_api::{InstanceSpec, Phase};
use shared::process::{FAST_END, tail_of};
use tokio::time::timeout;

use super::{Instance, LOOK, Postmaster, Progress, birth, ignore_absence};
use crate::catalog::lost_name;
use crate::live::connect_locally;
use crate::paths::RESTORE_FROM_DATA;
use crate::restore::{
    COMMAND, Fetching, Outcome, SOCKET, STANDBY, Serving, check_ending, judge_log, manifest_of,
};
use crate::store::Standing;

/// Time between two looks at files that are fetched; the end of it wakes the instance.
const LOOK_AT_FETCHING: Duration = Duration::from_secs(5);

/// Longest time that PostgreSQL is given to say whether it has recovered.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is done for a restore.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    fetching: Option<Fetching>,
    serving: Option<Serving>,
    /// PostgreSQL has not found a commit behind the target, and there is none: the end of the way
    /// is the target.
    end_is_target: bool,
}

impl Instance {
    /// Does the next step of a restore.
    pub(super) async fn restore(
        &mut self,
        (spec, digest): (&InstanceSpec, &str),
        source: &RestoreSource,
    ) -> anyhow::Result<Progress> {
        self.stop_if_failed(spec).await?;
        if !self.agent.store.get().born {
            return self.fetch(spec, source).await;
        }
        self.serve_wal(spec, source)?;
        if self.postmaster.is_none() {
            return self.start(spec).await;
        }
        if !self.is_ready() || !self.has_recovered(spec).await {
            self.agent.board.enter(Phase::Starting);
            return Ok(Progress::Wait(LOOK));
        }
        // What was known of one that was adopted is from before.
        self.agent.board.show_running(None);
        self.show_ready().await?;
        if !self.settle_configuration(spec).await? {
            return Ok(Progress::Again);
        }
        self.end_restore((spec, digest), source).await
    }

    /// A restore that has failed does not go on in this incarnation.
    pub(super) async fn stop_if_failed(&mut self, spec: &InstanceSpec) -> anyhow::Result<()> {
        let Some(detail) = self.agent.restore.failure(spec.incarnation) else {
            return Ok(());
        };
        self.restoring = Restoring::default();
        if self.postmaster.is_some() {
            self.stop(FAST_END).await?;
        }
        self.agent.board.enter(Phase::Stopped);
        bail!("the restore has failed: {detail}");
    }

    /// Sees to it that PostgreSQL's questions for WAL are answered.
    pub(super) fn serve_wal(
        &mut self,
        spec: &InstanceSpec,
        source: &RestoreSource,
    ) -> anyhow::Result<()> {
        let serving = self.restoring.serving.as_mut();
        if serving.is_some_and(Serving::is_alive) {
            return Ok(());
        }
        let manifest = manifest_of(&self.agent.paths.restore())?;
        let follows = self.agent.store.get().standing != Standing::Independent;
        let what = (source, spec.incarnation);
        let serving = Serving::begin(&self.agent, what, &manifest, follows)?;
        self.restoring.serving = Some(serving);
        Ok(())
    }

    /// Whether recovery has ended. PostgreSQL calls itself ready before, when it is to let nobody in
    /// until then.
    async fn has_recovered(&self, spec: &InstanceSpec) -> bool {
        let port = self.postmaster.as_ref().map_or(spec.port, Postmaster::port);
        if self.agent.paths.data().join("recovery.signal").exists() {
            return false;
        }
        let ask = async {
            let mut connection = connect_locally(&self.agent.paths.sockets(), port).await?;
            let in_recovery: bool = sqlx::query_scalar("select pg_is_in_recovery()")
                .fetch_one(&mut connection)
                .await?;
            sqlx::Connection::close(connection).await?;
            Ok::<bool, sqlx::Error>(in_recovery)
        };
        matches!(timeout(PATIENCE, ask).await, Ok(Ok(false)))
    }

    /// Fetches the files. The data directory only gets its name when all of it is on the disk.
    pub(super) async fn fetch(
        &mut self,
        spec: &InstanceSpec,
        source: &RestoreSource,
    ) -> anyhow::Result<Progress> {
        self.agent.board.enter(Phase::Creating);
        let data = self.agent.paths.data();
        if data.exists() {
            self.restoring.fetching = None;
            birth::check_major(&data, source.postgres_major)?;
            self.agent.store.set(|state| state.born = true).await?;
            return Ok(Progress::Again);
        }
        self.binaries(spec)?;
        let Some(fetching) = &mut self.restoring.fetching else {
            let fetching = Fetching::begin(&self.agent, source, spec.incarnation);
            self.restoring.fetching = Some(fetching);
            return Ok(Progress::Wait(LOOK_AT_FETCHING));
        };
        let Some(outcome) = fetching.outcome() else {
            return Ok(Progress::Wait(LOOK_AT_FETCHING));
        };
        self.restoring.fetching = None;
        outcome.context("fetch the files of the backup")?;
        Ok(Progress::Again)
    }

    /// Makes sure that PostgreSQL, which accepts connections, has reached the target; lets nobody
    /// in but the roles of the spec; and remembers that.
    async fn end_restore(
        &mut self,
        (spec, digest): (&InstanceSpec, &str),
        source: &RestoreSource,
    ) -> anyhow::Result<Progress> {
        let running = self.agent.board.facts().running;
        let tli = running.context("PostgreSQL runs")?.tli;
        let (data, directory) = (self.agent.paths.data(), self.agent.paths.restore());
        let to_end = self.ends_at_end(source);
        let of = source.clone();
        let check = move || check_ending((&data, &directory), tli, &of, to_end);
        let restored = match tokio::task::spawn_blocking(check).await? {
            Ok(restored) => restored,
            Err(detail) => {
                self.agent.restore.fail(spec.incarnation, detail);
                return Ok(Progress::Again);
            }
        };
        if let Some(lost) = self.lost_name(spec, source).await? {
            let detail = format!(
                "the database {lost} was not there at that time: it was made later, or dropped before"
            );
            self.agent.restore.fail(spec.incarnation, detail);
            return Ok(Progress::Again);
        }
        self.settle_catalog(spec, digest).await?;
        self.agent
            .store
            .set(|state| state.restored = Some(restored))
            .await?;
        tracing::info!(tli, lsn = %restored.began_at, "the restore has reached its target");
        Ok(Progress::Again)
    }

    /// A database that should get a new name, and is not there. One that was never there is never there
    /// later.
    async fn lost_name(
        &self,
        spec: &InstanceSpec,
        source: &RestoreSource,
    ) -> anyhow::Result<Option<String>> {
        let port = self.postmaster.as_ref().map_or(spec.port, Postmaster::port);
        let ask = async {
            let mut connection = connect_locally(&self.agent.paths.sockets(), port).await?;
            let lost = lost_name(&mut connection, &source.renames).await?;
            sqlx::Connection::close(connection).await?;
            Ok::<_, sqlx::Error>(lost)
        };
        let lost = timeout(PATIENCE, ask).await.context("PostgreSQL answers")?;
        lost.context("look for the databases that get new names")
    }

    /// Removes what a restore that has ended needed. Does nothing if that was done.
    pub(super) fn clear_restore(&mut self) -> anyhow::Result<()> {
        self.restoring = Restoring::default();
        ignore_absence(std::fs::remove_dir_all(self.agent.paths.restore()))
            .context("remove what the restore needed")
    }

    /// Whether recovery has no other target than the end of the way.
    fn ends_at_end(&self, source: &RestoreSource) -> bool {
        let end = source.path.last().map(|leg| leg.end);
        match source.target {
            Target::End => true,
            Target::Lsn { lsn } => Some(lsn) == end,
            Target::Time { .. } => self.restoring.end_is_target,
        }
    }

    /// What PostgreSQL is started with while it is restored, `name=value`. On its command line, so
    /// that nothing is left of it that a restart would be needed for.
    pub(super) fn recovery_settings(&self, spec: &InstanceSpec) -> anyhow::Result<Vec<String>> {
        let state = self.agent.store.get();
        let Some(source) = state.restoring() else {
            return Ok(Vec::new());
        };
        let program = std::env::current_exe().context("find our own program")?;
        self.agent.account.check_reaches(&program)?;
        let quoted = program
            .display()
            .to_string()
            .replace('\'', r"'\''")
            .replace('%', "%%");
        let last = source.path.last().context("the way has a leg")?;
        let is_standby = state.standing != Standing::Independent;
        let asks = format!("'{quoted}' {COMMAND} {RESTORE_FROM_DATA}/{SOCKET} %f %p");
        let standby = if is_standby { STANDBY } else { "" };
        let mut settings = vec![
            format!("restore_command={asks} {standby}"),
            format!("recovery_target_timeline={}", last.run.tli),
        ];
        if is_standby {
            settings.push("hot_standby=on".to_owned());
            return Ok(settings);
        }
        settings.extend([
            "recovery_target_inclusive=on".to_owned(),
            "recovery_target_action=promote".to_owned(),
            // Nobody is let in before the end, and the limits of the spec may be lower than those
            // of the cluster that wrote the WAL.
            "hot_standby=off".to_owned(),
        ]);
        match source.target {
            Target::Lsn { lsn } if !self.ends_at_end(source) => {
                settings.push(format!("recovery_target_lsn={lsn}"));
            }
            Target::Time { at } if !self.ends_at_end(source) => {
                let at = at.to_rfc3339_opts(SecondsFormat::Micros, false);
                settings.push(format!("recovery_target_time={at}"));
            }
            Target::End | Target::Lsn { .. } | Target::Time { .. } => {}
        }
        tracing::info!(target = %source.target, incarnation = spec.incarnation, "recovery begins");
        Ok(settings)
    }

    /// Whether PostgreSQL, which has just ended, has ended because of the target of a restore: then
    /// it is noted what that means.
    pub(super) fn is_end_of_recovery(&mut self) -> bool {
        let state = self.agent.store.get();
        let (Some(source), Some(instruction)) = (state.restoring(), &state.instruction) else {
            return false;
        };
        let incarnation = instruction.spec.incarnation;
        if self.agent.restore.failure(incarnation).is_some() {
            return true;
        }
        if state.standing != Standing::Independent {
            return false;
        }
        if self.restoring.end_is_target {
            return false;
        }
        let Ok(manifest) = manifest_of(&self.agent.paths.restore()) else {
            return false;
        };
        match judge_log(&tail_of(&self.agent.paths.log()), source, &manifest) {
            None => false,
            Some(Outcome::EndIsTarget) => {
                tracing::info!("nothing was committed after the target: recovery goes to the end");
                self.restoring.end_is_target = true;
                true
            }
            Some(Outcome::Failed(detail)) => {
                self.agent.restore.fail(incarnation, detail);
                true
            }
        }
    }
}
