//! Starting PostgreSQL, adopting one that runs, and noticing its end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use shared::agent_api::{InstanceSpec, Phase};
use shared::process::{
    DeathSignal, HARD_END, Launched, Lifetime, PostgresBinaries, PostmasterFile, PostmasterState,
    Program, RunningProcess, end_all_in, processes_in, run_to_end, tail_of,
};
use tokio::time::Instant;

use super::following::tli_of;
use super::{Instance, LOOK, Progress, ignore_absence};
use crate::board::Running;
use crate::render::CONFIGURATION;

/// A PostgreSQL that runs, ours or adopted.
#[derive(Debug)]
pub(super) struct Postmaster {
    process: RunningProcess,
    /// None if it was adopted.
    child: Option<Launched>,
    port: u16,
    since: Instant,
}

impl Postmaster {
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How long we have known it.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether it accepts connections.
    pub(super) fn is_ready(&self, data: &Path) -> bool {
        PostmasterFile::read(data).is_some_and(|file| {
            file.pid == self.process.pid() && file.state == PostmasterState::Ready
        })
    }
}

/// Waits until PostgreSQL ends, and tells how it did; for ever if there is none. Safe to cancel.
pub(super) async fn end_of(postmaster: &mut Option<Postmaster>) -> String {
    let Some(postmaster) = postmaster else {
        return std::future::pending().await;
    };
    let pid = postmaster.process.pid();
    let Some(child) = &mut postmaster.child else {
        return match postmaster.process.ended().await {
            Ok(()) => format!("PostgreSQL (process {pid}) ended by itself"),
            Err(error) => format!("PostgreSQL (process {pid}) was lost: {error}"),
        };
    };
    let outcome = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    format!(
        "PostgreSQL (process {pid}) ended by itself: {outcome}: {}",
        tail_of(child.log())
    )
}

impl Instance {
    /// Looks once for a PostgreSQL that an earlier agent started: adopts it, or notes that it
    /// ended while nobody looked.
    pub(super) async fn look_for_running(&mut self) -> anyhow::Result<()> {
        let data = self.agent.paths.data();
        if let Some(file) = PostmasterFile::read(&data) {
            let mut processes = processes_in(&data)?.into_iter();
            let process = processes.find(|process| process.pid() == file.pid);
            match process {
                Some(process) if !self.agent.options.die_with_agent => {
                    tracing::info!(pid = file.pid, "running PostgreSQL is adopted");
                    self.postmaster = Some(Postmaster {
                        process,
                        child: None,
                        port: file.port,
                        since: Instant::now(),
                    });
                    self.loaded = false;
                    self.show_running(file.started_at).await?;
                }
                // It would not die with us: it is ended, and started again as our child.
                None if self.was_left_running() => {
                    let end = "PostgreSQL ended by itself while no agent was running".to_owned();
                    self.remember_crash(end).await;
                }
                Some(_) | None => {}
            }
        }
        self.looked = true;
        Ok(())
    }

    /// Whether a PostgreSQL that is not running now should be: it was not meant to die with the
    /// agent, and the machine has been up.
    fn was_left_running(&self) -> bool {
        let same_boot = self.agent.store.get().confirmed_boot_id == self.agent.boot_id;
        same_boot && !self.agent.options.die_with_agent
    }

    /// Starts PostgreSQL, when it is time to.
    pub(super) async fn start(&mut self, spec: &InstanceSpec) -> anyhow::Result<Progress> {
        self.agent.board.enter(Phase::Starting);
        let data = self.agent.paths.data();
        if !data.exists() {
            bail!("the data directory is gone; it is not replaced by an empty one");
        }
        // A busy backend goes on, and commits, after its postmaster was killed.
        end_all_in(&data, HARD_END).await?;
        // What a killed one left names its process, which may be a zombie or another one by now.
        PostmasterFile::remove(&data)?;
        ignore_absence(std::fs::remove_dir_all(self.agent.paths.sockets()))
            .context("remove the old socket")?;
        let wait = self.starts.wait();
        if let Some(left) = self
            .last_start
            .and_then(|at| wait.checked_sub(at.elapsed()))
            && !left.is_zero()
        {
            return Ok(Progress::Wait(left));
        }
        self.write_configuration(spec).await?;
        self.agent
            .store
            .set(|state| state.started_incarnation = spec.incarnation)
            .await?;
        self.last_start = Some(Instant::now());
        let child = self.launch(spec).await?;
        let pid = child.pid();
        tracing::info!(pid, "PostgreSQL starts");
        self.postmaster = Some(Postmaster {
            process: RunningProcess::open(pid)?,
            child: Some(child),
            port: spec.port,
            since: Instant::now(),
        });
        self.loaded = true;
        Ok(Progress::Wait(LOOK))
    }

    async fn launch(&self, spec: &InstanceSpec) -> anyhow::Result<Launched> {
        let agent = &self.agent;
        let (paths, account) = (&agent.paths, &agent.account);
        account.make_private_directory(&paths.sockets())?;
        account.check_reaches(&paths.data())?;
        let lifetime = if agent.options.die_with_agent {
            Lifetime::DiesWithUs(DeathSignal::Quit)
        } else {
            Lifetime::Outlives
        };
        let configuration = paths.configuration().join(CONFIGURATION);
        let mut program = Program::new(self.binaries(spec)?.program("postgres"), account)
            .arg("-D")
            .arg(paths.data())
            .arg("-c")
            .arg(format!("config_file={}", configuration.display()));
        for setting in self.recovery_settings(spec)? {
            program = program.arg("-c").arg(setting);
        }
        Ok(program.launch(lifetime, &paths.log()).await?)
    }

    pub(super) fn binaries(&self, spec: &InstanceSpec) -> anyhow::Result<&PostgresBinaries> {
        Ok(self.agent.installations.find(spec.birth.postgres_major())?)
    }

    /// Shows what can be known of the running PostgreSQL without asking it.
    pub(super) async fn show_running(&self, started_at: DateTime<Utc>) -> anyhow::Result<()> {
        let Some(postmaster) = &self.postmaster else {
            return Ok(());
        };
        let state = self.agent.store.get();
        let instruction = state
            .instruction
            .as_ref()
            .context("an instruction is held")?;
        let binaries = self.binaries(&instruction.spec)?;
        let program = Program::new(binaries.program("pg_controldata"), &self.agent.account)
            .arg(self.agent.paths.data());
        let printed = run_to_end(&program).await?;
        let value = |label: &str| control_value(&printed, label);
        // Of one that was promoted a moment ago the last checkpoint is from before.
        let tli = tli_of(&printed).context("read the timeline")?;
        self.agent.board.show_running(Some(Running {
            pid: postmaster.process.pid(),
            started_at,
            version: binaries.version.to_string(),
            system_identifier: value("Database system identifier")
                .context("read the system identifier")?
                .to_owned(),
            tli,
            wal_segment_bytes: value("Bytes per WAL segment")
                .and_then(|bytes| bytes.parse().ok())
                .context("read the size of a WAL segment")?,
            port: postmaster.port,
        }));
        Ok(())
    }
}

/// One value of what `pg_controldata` prints: `label:   value`.
pub(super) fn control_value<'p>(printed: &'p str, label: &str) -> Option<&'p str> {
    let mut lines = printed.lines();
    lines.find_map(|line| Some(line.strip_prefix(label)?.strip_prefix(':')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_label() {
        let printed = "Database system identifier:           7364\n\
                       Latest checkpoint's TimeLineID:       2\n\
                       Latest checkpoint's PrevTimeLineID:   1\n";
        assert_eq!(
            control_value(printed, "Database system identifier"),
            Some("7364")
        );
        assert_eq!(
            control_value(printed, "Latest checkpoint's TimeLineID"),
            Some("2")
        );
        assert_eq!(control_value(printed, "Database"), None);
    }
}
