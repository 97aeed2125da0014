//! A turn of a timeline of which something may be deleted from the archive.
//!
//! One small thing at a time, each marked before and confirmed after, so that nothing is ever
//! counted on that may be gone:
//!
//! 1. A backup that no moment needs any more, or that was given up, is marked. Hours later, so that
//!    there is a way back from a clock that had jumped, its sentinel is deleted, so that nobody takes
//!    it for a backup; then the rest; then its row. What was given up is deleted at once.
//! 2. WAL before the oldest backup that is left is let go of; then it is deleted, the oldest first.
//! 3. Of a timeline that was destroyed long enough ago, everything goes.
//!
//! A store that cannot list or delete ends the turn with an error: what is not known to be gone is
//! there. What is kept is decided by [`shared::archive::retention`].

mod backup;
mod destroyed;
mod wal;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use shared::archive::retention::{Fate, Held, expired, fate};
use shared::archive::store::{Listed, StoreError};
use shared::db::archive::{
    ExpiryRow, KeptBackup, kept_backups, kept_wal, load_expiry, mark_expiring, release_restores,
    unmark,
};
use shared::db::fleet::Recorded;
use shared::db::jobs::{self, JobKey};
use shared::domain::{BackupState, JobKind};
use shared::ids::TimelineId;
use shared::queue::Outcome;
use shared::telemetry::metrics::archive;

use super::outcome;
use crate::context::{Archive, Context};
use crate::ring::{Turn, TurnError};

/// Most objects that one turn deletes: as many as a list has, and a store deletes at once.
const PAGE: u16 = 1000;

/// What a turn works with.
struct Expiring<'a> {
    context: &'a Context,
    archive: &'a Archive,
    turn: &'a Turn,
    row: &'a ExpiryRow,
}

/// How far a turn came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Nothing is left to be deleted.
    ToTheEnd,
    /// There may be more to do at once.
    PartOfTheWay,
    /// Somebody else was quicker, or the lease is gone.
    Overtaken,
}

/// Turns `timeline` once. The job ends when nothing is left to be deleted.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    timeline: TimelineId,
) -> Result<Outcome, TurnError> {
    let Some(archive) = &context.archive else {
        return Ok(outcome::without_archive(turn));
    };
    release_restores(&context.pool, context.now()).await?;
    let came = match load_expiry(&context.pool, timeline).await? {
        None => Came::ToTheEnd,
        Some(row) => {
            let expiring = Expiring {
                context,
                archive,
                turn,
                row: &row,
            };
            expiring.carry_out().await?
        }
    };
    match came {
        Came::ToTheEnd => {
            let key = JobKey {
                kind: JobKind::Expire,
                subject_id: timeline.as_uuid(),
            };
            jobs::finish(&context.pool, key).await?;
            Ok(Outcome::Done)
        }
        Came::PartOfTheWay => Ok(Outcome::Again(Duration::ZERO)),
        Came::Overtaken => Ok(outcome::overtaken()),
    }
}

impl Expiring<'_> {
    async fn carry_out(&self) -> Result<Came, TurnError> {
        let pool = &self.context.pool;
        // A machine whose clock has jumped must not delete what is still promised.
        if !self.context.clock.confirm(pool).await? {
            return Ok(Came::Overtaken);
        }
        let now = self.context.now();
        let backups = kept_backups(pool, self.row.timeline).await?;
        let is_marked = |backup: &&KeptBackup| backup.state == BackupState::Expiring;
        for backup in backups.iter().filter(is_marked) {
            match fate(backup.marked_at, now) {
                Fate::Deleted => return self.delete_backup(backup).await,
                Fate::Kept => return self.unmark(backup).await,
                Fate::Waits => {}
            }
        }
        let mut failed = backups.iter();
        if let Some(backup) = failed.find(|backup| backup.may_be_cleaned_up(now)) {
            return self.mark(backup, None).await;
        }
        if self.row.is_pinned {
            return Ok(Came::ToTheEnd);
        }
        if let Some(ended_at) = self.row.ended_at {
            let keep = TimeDelta::seconds(self.row.keep_destroyed_s.into());
            return if now - ended_at < keep {
                Ok(Came::ToTheEnd)
            } else {
                self.delete_everything(&backups).await
            };
        }
        let held: Vec<Held> = backups
            .iter()
            .filter(|backup| backup.state == BackupState::Finished)
            .filter_map(|backup| backup.held)
            .collect();
        let keep_since = now - TimeDelta::seconds(self.row.retention_s.into());
        let oldest = expired(&held, keep_since).into_iter().next();
        let oldest = oldest.and_then(|id| backups.iter().find(|backup| backup.id == id));
        if let Some(backup) = oldest {
            return self.mark(backup, Some(keep_since)).await;
        }
        let wal = kept_wal(pool, self.row.timeline).await?;
        // Of those too that are marked: there is a way back.
        let needed: Vec<Held> = backups.iter().filter_map(|backup| backup.held).collect();
        self.trim(&wal, &needed).await
    }

    /// Marks a backup: from now on nothing is restored from it.
    async fn mark(
        &self,
        backup: &KeptBackup,
        keep_since: Option<DateTime<Utc>>,
    ) -> Result<Came, TurnError> {
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let (pool, now) = (&self.context.pool, self.context.now());
        let of = (self.row.timeline, backup.id);
        let marked = mark_expiring(pool, of, keep_since, now).await?;
        tracing::info!(
            timeline.id = %self.row.timeline, backup.id = %backup.id, was = %backup.state,
            request_id = %self.row.request_id, "a backup is marked to be deleted",
        );
        Ok(self.after(marked).await)
    }

    /// Takes a mark back that was made by a clock that had jumped.
    async fn unmark(&self, backup: &KeptBackup) -> Result<Came, TurnError> {
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let (pool, now) = (&self.context.pool, self.context.now());
        let kept = unmark(pool, backup.id, now).await?;
        tracing::warn!(
            timeline.id = %self.row.timeline, backup.id = %backup.id,
            marked.at = ?backup.marked_at, request_id = %self.row.request_id,
            "a backup is kept that was marked to be deleted at a moment to come",
        );
        Ok(self.after(kept).await)
    }

    /// What follows a record.
    async fn after(&self, recorded: Recorded) -> Came {
        self.context.borders.within().await;
        if recorded.is_overtaken() {
            Came::Overtaken
        } else {
            Came::PartOfTheWay
        }
    }

    /// The first names that begin with `prefix`.
    async fn first_of(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.archive.store.list(prefix, None, PAGE).await
    }

    /// Deletes these objects, of which there are at most [`PAGE`]. False if the lease is gone.
    async fn delete(&self, keys: &[String], kind: &'static str) -> Result<bool, StoreError> {
        if !self.turn.still_mine() {
            return Ok(false);
        }
        if !keys.is_empty() {
            self.archive.store.delete(keys).await?;
            let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
            counter!(archive::EXPIRED, "kind" => kind).increment(count);
        }
        self.context.borders.within().await;
        Ok(true)
    }
}
