//! A follower: restored from the archive, and then a standby that reads the archive and streams,
//! whichever has more, and answers queries meanwhile.
//!
//! What PostgreSQL calls a standby is told by `standby.signal`, which is there before each start until
//! a history of its own has begun.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use shared::agent_api::restore::RestoreSource;
use shared::agent_api::{InstanceSpec, Phase};
use shared::process::{HARD_END, Program, end_all_in, run_to_end};
use sqlx::Connection as _;
use tokio::time::timeout;

use super::postmaster::control_value;
use super::{CATALOG_PATIENCE, Instance, LOOK, Postmaster, Progress, ignore_absence};
use crate::catalog::slots;
use crate::durable_file::{replace_durably, sync_directory};
use crate::live::connect_locally;
use crate::restore::too_low_settings;
use crate::store::Standing;

/// Makes PostgreSQL a standby.
const STANDBY: &str = "standby.signal";

/// Makes it recover once: what a base backup comes with.
const RECOVERY: &str = "recovery.signal";

impl Instance {
    /// Does the next step of a follower.
    pub(super) async fn follow(
        &mut self,
        spec: &InstanceSpec,
        digest: &str,
    ) -> anyhow::Result<Progress> {
        self.prepare(spec).await?;
        let state = self.agent.store.get();
        let source = state.restoring().context("a follower is restored")?;
        if let Some(progress) = self.catch_up(spec, source).await? {
            return Ok(progress);
        }
        self.show_ready().await?;
        if !self.settle_configuration(spec).await? {
            return Ok(Progress::Again);
        }
        self.settle_follower(spec, digest).await?;
        Ok(Progress::Settled)
    }

    /// Brings a standby to where it accepts connections, which it does once it is consistent. None
    /// when it does.
    pub(super) async fn catch_up(
        &mut self,
        spec: &InstanceSpec,
        source: &RestoreSource,
    ) -> anyhow::Result<Option<Progress>> {
        self.stop_if_failed(spec).await?;
        if !self.agent.store.get().born {
            return self.fetch(spec, source).await.map(Some);
        }
        self.serve_wal(spec, source)?;
        if self.postmaster.is_none() {
            self.stand_by(spec, source).await?;
            return self.start(spec).await.map(Some);
        }
        if !self.is_ready() {
            self.agent.board.enter(Phase::Starting);
            return Ok(Some(Progress::Wait(LOOK)));
        }
        Ok(None)
    }

    /// Makes sure that PostgreSQL, which does not run, will be a standby: unless it was told to begin
    /// a history of its own, and has. What is left of an attempt to begin one goes.
    async fn stand_by(&self, spec: &InstanceSpec, source: &RestoreSource) -> anyhow::Result<()> {
        let followed = source.path.last().context("the way has a leg")?.run.tli;
        let data = self.agent.paths.data();
        // What an earlier agent left running may be promoted at this moment.
        end_all_in(&data, HARD_END).await?;
        let leads = self.tli_of_control(spec).await? > followed;
        let may_lead = self.agent.store.get().standing == Standing::Promotes;
        ensure!(
            may_lead || !leads,
            "it has a history of its own, and does not follow"
        );
        let account = self.agent.account.clone();
        let prepare = move || -> anyhow::Result<()> {
            let signal = data.join(STANDBY);
            if leads {
                return Ok(ignore_absence(fs::remove_file(signal))?);
            }
            if !signal.exists() {
                replace_durably(&signal, b"")?;
                account.give(&signal)?;
            }
            ignore_absence(fs::remove_file(data.join(RECOVERY)))?;
            remove_later_histories(&data.join("pg_wal"), followed)
        };
        tokio::task::spawn_blocking(prepare)
            .await?
            .context("make a standby of it")
    }

    /// The `tli` that PostgreSQL would go on with. Promotion writes it there before anybody may
    /// write.
    async fn tli_of_control(&self, spec: &InstanceSpec) -> anyhow::Result<u32> {
        let binaries = self.binaries(spec)?;
        let program = Program::new(binaries.program("pg_controldata"), &self.agent.account)
            .arg(self.agent.paths.data());
        let printed = run_to_end(&program).await?;
        tli_of(&printed).context("read the timeline")
    }

    /// Makes the slots: all that a standby can have of its own.
    async fn settle_follower(&mut self, spec: &InstanceSpec, digest: &str) -> anyhow::Result<()> {
        if self.compared.as_deref() == Some(digest) {
            return Ok(());
        }
        let port = self.postmaster.as_ref().map_or(spec.port, Postmaster::port);
        let work = async {
            let mut connection = connect_locally(&self.agent.paths.sockets(), port).await?;
            let in_recovery: bool = sqlx::query_scalar("select pg_is_in_recovery()")
                .fetch_one(&mut connection)
                .await?;
            let made = slots::ensure(&mut connection, &spec.slots).await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>((in_recovery, made))
        };
        let (in_recovery, _) = timeout(CATALOG_PATIENCE, work)
            .await
            .context("PostgreSQL does not answer")?
            .context("settle the slots")?;
        if !in_recovery {
            bail!("PostgreSQL was promoted by somebody else");
        }
        self.compared = Some(digest.to_owned());
        Ok(())
    }

    /// Why PostgreSQL, which has ended with these last words, does not follow with these settings.
    pub(super) fn limits_of_follower(&self, end: &str) -> Option<String> {
        let follows = self.agent.store.get().standing != Standing::Independent;
        let is_about_limits = end.contains("insufficient parameter settings");
        let limits = too_low_settings(&self.agent.paths.log());
        limits.filter(|_| follows && is_about_limits)
    }
}

/// The later of two `tli`: of the last checkpoint, and up to which must be recovered.
pub(super) fn tli_of(printed: &str) -> Option<u32> {
    let number = |label| control_value(printed, label)?.parse().ok();
    let checkpoint: u32 = number("Latest checkpoint's TimeLineID")?;
    let minimum: u32 = number("Min recovery ending loc's timeline")?;
    Some(checkpoint.max(minimum))
}

/// Removes WAL and histories of later `tli` than `followed`.
fn remove_later_histories(directory: &Path, followed: u32) -> anyhow::Result<()> {
    let mut removed = false;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let tli = name.to_str().and_then(tli_in_name);
        if tli.is_some_and(|tli| tli > followed) {
            tracing::info!(file = ?name, "what is left of a promotion that did not end is removed");
            fs::remove_file(entry.path())?;
            removed = true;
        }
    }
    if removed {
        sync_directory(directory)?;
    }
    Ok(())
}

/// The `tli` of a segment or history file; none of another file.
fn tli_in_name(name: &str) -> Option<u32> {
    let is_segment = name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let tli = name
        .strip_suffix(".history")
        .or_else(|| is_segment.then_some(name));
    u32::from_str_radix(tli?.get(..8)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_after_the_followed_history_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let names = [
            "000000020000000000000003",
            "00000002.history",
            "000000030000000000000003",
            "00000003.history",
            "0000000A.history",
            "archive_status",
            "RECOVERYXLOG",
        ];
        for name in names {
            fs::write(directory.path().join(name), "").unwrap();
        }
        remove_later_histories(directory.path(), 2).unwrap();
        let left = names.map(|name| directory.path().join(name).exists());
        assert_eq!(left, [true, true, false, false, false, true, true]);
    }

    #[test]
    fn a_promotion_that_has_begun_its_history_is_seen() {
        let printed = "Latest checkpoint's TimeLineID:       1\n\
                       Min recovery ending loc's timeline:  2\n";
        assert_eq!(tli_of(printed), Some(2));
        let printed = "Latest checkpoint's TimeLineID:       2\n\
                       Min recovery ending loc's timeline:  0\n";
        assert_eq!(tli_of(printed), Some(2));
    }
}
