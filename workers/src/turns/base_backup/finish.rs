//! The end of a backup: everything is looked at, then the sentinel, then the row.

use shared::archive::sentinel::Sentinel;
use shared::archive::store::{Listed, Put, StoreError};
use shared::db::archive::{
    RunningBackup, finish_backup, is_gap_within, may_have_sentinel, newest_of_run,
};
use shared::domain::JobKind;
use shared::queue::Member;

use super::error::BackupError;
use super::source::Silent;
use super::{Came, Making, told};
use crate::ring::TurnError;
use crate::turns::since;

/// Names of one page of a list.
const PAGE: u16 = 1000;

impl Making<'_> {
    /// Nobody works on the backup any more. If its manifest is there, it was complete before.
    pub(super) async fn after_a_loss(
        &self,
        running: &RunningBackup,
        problem: &str,
    ) -> Result<Came, TurnError> {
        let key = self.epoch.record.prefix().backup_manifest(running.id);
        if self.archive.store.get(&key, Some(0..1)).await?.is_some() {
            return self.finish(running).await;
        }
        self.give_up(running, problem).await
    }

    /// Completes a backup that the agent has finished.
    pub(super) async fn finish(&self, running: &RunningBackup) -> Result<Came, TurnError> {
        let sentinel = match self.look_at_everything(running).await? {
            Ok(sentinel) => sentinel,
            Err(problem) => return self.give_up(running, &problem).await,
        };
        let (epoch, pool) = (self.epoch, &self.context.pool);
        if let Some(problem) = self.begins_too_early(running, &sentinel).await? {
            return self.give_up(running, problem).await;
        }
        match self.has_lost_history(running, sentinel.stop_lsn).await {
            Ok(None) => {}
            Ok(Some(problem)) => return self.give_up(running, problem).await,
            Err(Silent) => return Ok(Came::Nowhere),
        }
        if self.is_of_follower(running) && sentinel.damaged_pages > 0 {
            // The leader's may be sound; who is chosen is chosen again, and would stay the only one.
            let problem = "the follower has pages that are damaged";
            return self.give_up(running, problem).await;
        }
        let wal = (sentinel.start_lsn, sentinel.stop_lsn);
        if is_gap_within(pool, (self.row.timeline, running.run.epoch), wal).await? {
            let problem = "WAL that was written meanwhile is lost to the archive";
            return self.give_up(running, problem).await;
        }
        if epoch.watermark < sentinel.stop_lsn {
            return Ok(self.until_pushed(running).await);
        }
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        self.context.borders.within().await;
        if let Some(problem) = self.write(&sentinel).await? {
            return self.give_up(running, problem).await;
        }
        self.context.borders.within().await;
        let now = self.context.now();
        if finish_backup(pool, &sentinel, now).await?.is_overtaken() {
            self.take_back(&sentinel).await?;
            return Ok(Came::Overtaken);
        }
        self.tell(running, &sentinel);
        self.context.borders.within().await;
        Ok(Came::ToTheEnd)
    }

    /// What is wrong with the beginning of a backup of a follower, which lies in the past; null if
    /// nothing is. The archive has WAL from the start of the epoch and of the newest backup on; and
    /// only what is newer than that one counts as newest when the next is due.
    async fn begins_too_early(
        &self,
        running: &RunningBackup,
        sentinel: &Sentinel,
    ) -> Result<Option<&'static str>, TurnError> {
        if !self.is_of_follower(running) {
            return Ok(None);
        }
        if sentinel.start_lsn < self.epoch.record.start {
            return Ok(Some("it begins before the archive of its epoch does"));
        }
        let newest = newest_of_run(&self.context.pool, self.row.timeline, running.run).await?;
        let is_older = newest.is_some_and(|newest| sentinel.start_lsn < newest.start_lsn);
        Ok(is_older.then_some("it begins before the newest backup does"))
    }

    /// Without the WAL until it is consistent a backup is worth nothing: waits for that.
    pub(super) async fn until_pushed(&self, running: &RunningBackup) -> Came {
        let push = Member::of_job(JobKind::WalPush, self.row.timeline.as_uuid());
        self.context.wake(push).await;
        self.later(running)
    }

    /// What the sentinel says, from the archive alone; or what is missing, for people.
    async fn look_at_everything(
        &self,
        running: &RunningBackup,
    ) -> Result<Result<Sentinel, String>, StoreError> {
        let prefix = self.epoch.record.prefix();
        let key = prefix.backup_manifest(running.id);
        let Some(manifest) = self.archive.store.get(&key, None).await? else {
            return Ok(Err("its manifest is not in the archive".to_owned()));
        };
        let listed = self.list(&prefix.backup(running.id)).await?;
        let of = (prefix, running.run, running.id);
        let sentinel = Sentinel::of(of, &manifest, &listed);
        let follower = self.is_of_follower(running).then_some(running.participant);
        let sentinel = sentinel.map(|sentinel| Sentinel {
            follower,
            ..sentinel
        });
        Ok(sentinel.map_err(|error| shared::telemetry::chain(&error).to_string()))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut all: Vec<Listed> = Vec::new();
        loop {
            let after = all.last().map(|last| last.key.clone());
            let page = self.archive.store.list(prefix, after.as_deref(), PAGE);
            let page = page.await?;
            let is_last = page.len() < usize::from(PAGE);
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Writes the sentinel, or finds that somebody wrote the same. Gives what is wrong if it is
    /// another one.
    async fn write(&self, sentinel: &Sentinel) -> Result<Option<&'static str>, TurnError> {
        let store = &self.archive.store;
        let key = self.epoch.record.prefix().backup_sentinel(sentinel.backup);
        let json = sentinel.to_json();
        match store.put(&key, json.clone().into()).await? {
            Put::Stored => Ok(None),
            Put::AlreadyThere => match store.get(&key, None).await? {
                None => Err(BackupError::SentinelGone(sentinel.backup).into()),
                Some(found) if found == json => Ok(None),
                Some(_) => Ok(Some("another sentinel is in its place")),
            },
        }
    }

    /// Whoever was stalled for long may have written the sentinel of a backup that was given up and
    /// deleted meanwhile: nobody must take that for a backup.
    async fn take_back(&self, sentinel: &Sentinel) -> Result<(), TurnError> {
        if may_have_sentinel(&self.context.pool, sentinel.backup).await? {
            return Ok(());
        }
        let key = self.epoch.record.prefix().backup_sentinel(sentinel.backup);
        self.archive.store.delete(&[key]).await?;
        tracing::warn!(
            timeline.id = %self.row.timeline, backup.id = %sentinel.backup,
            request_id = %self.row.request_id, "a backup was given up before it was finished",
        );
        Ok(())
    }

    fn tell(&self, running: &RunningBackup, sentinel: &Sentinel) {
        let took = since(self.context.now(), running.started_at);
        tracing::info!(
            at = "finish", timeline.id = %self.row.timeline, backup.id = %running.id,
            participant.id = %running.participant, follower = sentinel.follower.is_some(),
            reason = %running.reason, request_id = %self.row.request_id,
            start = %sentinel.start_lsn, stop = %sentinel.stop_lsn,
            plain.bytes = sentinel.plain_bytes, stored.bytes = sentinel.stored_bytes,
            elapsed_ms = took.as_millis(), "base backup",
        );
        if sentinel.damaged_pages > 0 {
            tracing::error!(
                timeline.id = %self.row.timeline, backup.id = %running.id,
                damaged.pages = sentinel.damaged_pages, "a backup has pages that are damaged",
            );
        }
        told::finished(sentinel.stored_bytes);
    }
}
