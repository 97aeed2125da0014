//! A turn of a timeline that a base backup is made of.
//!
//! ```text
//!  row ──▶ order to the agent ──▶ places, as it asks for them ──▶ its manifest ──▶ WAL up to the end
//!                                                                                       │
//!                           row finished, job and requests ended ◀── sentinel ◀─────────┘
//! ```
//!
//! Each turn is short: it asks the agent where it stands, signs what is wanted, and comes back. The
//! row is there before the agent is told, and names of objects derive from it, so any worker can go
//! on from any point. What an agent has lost – it was killed – is given up, unless its manifest is
//! there: then the backup is complete, whoever knows it.
//!
//! It is taken from a follower where one has what the leader has ([`source`]); the WAL that it needs is
//! pushed by the leader all the same. A follower may be promoted, replaced or lost meanwhile, and
//! nobody waits for its backup: it is given up, and the next one is taken from the leader.
//!
//! The sentinel is written when everything that the manifest names was seen in the archive, and the
//! WAL that makes it consistent too. Without it there is no backup. Objects of a backup that was
//! given up are deleted by [`expire`](super::expire).

mod begin;
mod error;
mod finish;
mod follow;
mod source;
mod told;

use std::time::Duration;

use shared::agent_api::client::AgentAddress;
use shared::db::DbError;
use shared::db::alerts;
use shared::db::archive::{
    BackupRow, Epoch, Leader, RunningBackup, current_epoch, fail_backup, fail_captures, load_backup,
};
use shared::db::jobs::{self, JobKey};
use shared::domain::{ArchiveAlert, JobKind};
use shared::ids::TimelineId;
use shared::queue::Outcome;

use super::outcome;
use super::wal_push::agent_of;
use crate::context::{Archive, Context};
use crate::ring::{Backoff, Turn, TurnError};

/// Time between two looks at a leader that is not ready to be asked.
const NOT_READY: Duration = Duration::from_secs(2);

/// Pause after a backup that was given up: the next one reads and uploads everything again.
const AFTER_GIVEN_UP: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_mins(30));

/// Failed turns in a row after which those who asked for a backup are told that it fails.
const FAILURES_TOLD: u32 = 3;

/// What a turn works with.
struct Making<'a> {
    context: &'a Context,
    archive: &'a Archive,
    turn: &'a Turn,
    row: &'a BackupRow,
    leader: &'a Leader,
    epoch: &'a Epoch,
    /// The leader's.
    agent: AgentAddress,
}

/// How far a turn came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// The backup is complete and recorded.
    ToTheEnd,
    /// It goes on, and is looked at again after so long.
    Along(Duration),
    /// It was given up; another one is begun after a pause.
    ToNothing,
    /// Nothing can be done just now.
    Nowhere,
    /// Somebody else was quicker, or the lease is gone.
    Overtaken,
}

/// Turns `timeline` once. The job ends when a backup is complete, or no leader is left.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    timeline: TimelineId,
) -> Result<Outcome, TurnError> {
    let Some(row) = load_backup(&context.pool, timeline).await? else {
        return Ok(Outcome::Done);
    };
    let Some(leader) = &row.leader else {
        return end(context, &row).await;
    };
    let Some(archive) = &context.archive else {
        return Ok(outcome::without_archive(turn));
    };
    let epoch = current_epoch(&context.pool, timeline).await?;
    let came = match (&epoch, agent_of(leader)) {
        // How its writers are kept apart must be known before anything is written.
        _ if archive.store.capabilities().is_none() => Came::Nowhere,
        (Some(epoch), Some(agent)) if epoch.is_written_by(leader.participant) => {
            let making = Making {
                context,
                archive,
                turn,
                row: &row,
                leader,
                epoch,
                agent,
            };
            making.carry_out().await?
        }
        // Not serving, before its first push, or between the steps of a failover.
        (Some(_) | None, _) => Came::Nowhere,
    };
    Ok(match came {
        Came::ToTheEnd => Outcome::Done,
        Came::Along(pause) => outcome::again(turn, pause),
        Came::ToNothing => Outcome::Again(AFTER_GIVEN_UP.after(row.attempts + 1, turn.salt())),
        Came::Nowhere => outcome::again(turn, NOT_READY),
        Came::Overtaken => outcome::overtaken(),
    })
}

/// No leader is left: no backup will come, and nobody has to wait or to be told any more.
async fn end(context: &Context, row: &BackupRow) -> Result<Outcome, TurnError> {
    let (pool, now) = (&context.pool, context.now());
    let problem = "its server is gone";
    if let Some(running) = &row.running {
        let recorded = fail_backup(pool, running.id, problem, now).await?;
        if recorded.is_overtaken() {
            return Ok(outcome::overtaken());
        }
        told::ended("failed");
    }
    fail_captures(pool, row.timeline, problem, now).await?;
    let id = row.timeline.as_uuid();
    alerts::clear(pool, ArchiveAlert::BackupLate.as_str(), id, now).await?;
    jobs::finish(pool, key_of(row)).await?;
    Ok(Outcome::Done)
}

fn key_of(row: &BackupRow) -> JobKey {
    JobKey {
        kind: JobKind::BaseBackup,
        subject_id: row.timeline.as_uuid(),
    }
}

impl Making<'_> {
    async fn carry_out(&self) -> Result<Came, TurnError> {
        match &self.row.running {
            None => self.begin().await,
            Some(running) if !running.is_of(self.epoch) => {
                let problem = "its server does not write the timeline any more";
                self.give_up(running, problem).await
            }
            Some(running) => {
                let Some(source) = self.source_of(running).await? else {
                    let problem = "the follower that it was taken from follows no more, or is away";
                    return self.after_a_loss(running, problem).await;
                };
                self.follow(running, source).await
            }
        }
    }

    /// Gives a backup up: its objects are deleted later, and another one is begun after a pause.
    async fn give_up(&self, running: &RunningBackup, problem: &str) -> Result<Came, TurnError> {
        let (pool, now) = (&self.context.pool, self.context.now());
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        // Both or neither: by the count it is known that the next one is the leader's.
        let failed = DbError::during("give a backup up");
        let mut both = pool.begin().await.map_err(&failed)?;
        let recorded = fail_backup(&mut *both, running.id, problem, now).await?;
        if recorded.is_overtaken() {
            return Ok(Came::Overtaken);
        }
        jobs::record_failure(&mut *both, key_of(self.row), problem, None, now).await?;
        self.context.borders.within().await;
        both.commit().await.map_err(failed)?;
        tracing::warn!(
            timeline.id = %self.row.timeline, backup.id = %running.id,
            request_id = %self.row.request_id, error = problem, "a backup was given up",
        );
        told::ended("failed");
        if self.row.attempts + 1 >= FAILURES_TOLD {
            fail_captures(pool, self.row.timeline, problem, now).await?;
        }
        Ok(Came::ToNothing)
    }
}
