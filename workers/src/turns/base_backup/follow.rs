//! Following a backup: where the agent stands, and the places that it wants.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use shared::agent_api::backup::{BackupOrder, BackupPhase, BackupStatus};
use shared::agent_api::client::AgentError;
use shared::archive::store::StoreError;
use shared::db::archive::{BackupProgress, RunningBackup, note_backup_progress};
use shared::machine::cadence;

use super::{Came, Making};
use crate::ring::TurnError;
use crate::turns::since;
use crate::turns::wal_push::is_passing;

/// Pieces that an order has places for before the agent has asked for any.
const PLACES_AT_FIRST: u32 = 32;

/// Longest time between two looks: an agent asks for places that last for a second or two on a fast
/// machine.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// Longest time without progress. An agent gives up by itself long before: nobody works on it.
const STALLED_AFTER: TimeDelta = TimeDelta::minutes(30);

impl Making<'_> {
    /// Looks where the backup stands, and brings it forward.
    pub(super) async fn follow(&self, running: &RunningBackup) -> Result<Came, TurnError> {
        let client = self.context.agents.client();
        let request_id = self.row.request_id;
        let status = client.backup_status(self.agent, request_id).await?;
        let own = status.filter(|status| status.backup == running.id);
        let Some(status) = own else {
            return if running.ordered_at.is_some() {
                self.after_a_loss(running).await
            } else {
                let at_first: Vec<u32> = (1..=PLACES_AT_FIRST).collect();
                self.order(running, &at_first).await
            };
        };
        self.note(running, &status).await?;
        match &status.phase {
            BackupPhase::Running if self.is_stalled(running, &status) => {
                self.give_up(running, "nothing of it moved for half an hour")
                    .await
            }
            BackupPhase::Running if status.wants_pieces.is_empty() && !status.wants_manifest => {
                Ok(self.later(running))
            }
            BackupPhase::Running => self.order(running, &status.wants_pieces).await,
            BackupPhase::Finished { stop_lsn, .. } if self.epoch.watermark < *stop_lsn => {
                Ok(self.until_pushed(running).await)
            }
            BackupPhase::Finished { .. } => self.finish(running).await,
            BackupPhase::Failed { detail } => self.give_up(running, detail).await,
        }
    }

    /// Tells the agent of the backup, or brings it these places.
    async fn order(&self, running: &RunningBackup, pieces: &[u32]) -> Result<Came, TurnError> {
        let order = self.order_of(running, pieces).await?;
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let client = self.context.agents.client();
        let answer = client.order_backup(self.agent, &order, self.row.request_id);
        let status = match answer.await {
            Ok(status) => status,
            Err(error) => return self.unanswered(error),
        };
        self.context.borders.within().await;
        self.note(running, &status).await?;
        Ok(self.later(running))
    }

    async fn order_of(
        &self,
        running: &RunningBackup,
        pieces: &[u32],
    ) -> Result<BackupOrder, StoreError> {
        let record = &self.epoch.record;
        let prefix = record.prefix();
        let mut places = BTreeMap::new();
        for number in pieces {
            let key = prefix.backup_piece(running.id, *number);
            places.insert(*number, self.archive.place(&key).await?);
        }
        Ok(BackupOrder {
            backup: running.id,
            participant: self.leader.participant,
            generation: self.leader.generation,
            timeline: record.timeline,
            system_identifier: record.system_identifier,
            run: running.run,
            pieces: places,
            manifest: self
                .archive
                .place(&prefix.backup_manifest(running.id))
                .await?,
        })
    }

    async fn note(&self, running: &RunningBackup, status: &BackupStatus) -> Result<(), TurnError> {
        let progress = BackupProgress {
            bytes_done: status.bytes_done,
            bytes_total: status.bytes_total,
        };
        let (pool, now) = (&self.context.pool, self.context.now());
        note_backup_progress(pool, running.id, progress, now).await?;
        Ok(())
    }

    /// Whether neither this look nor any for long has seen progress.
    fn is_stalled(&self, running: &RunningBackup, status: &BackupStatus) -> bool {
        let moved = status.bytes_done > running.progress.bytes_done
            || status.bytes_total > running.progress.bytes_total;
        !moved && self.context.now() - running.moved_at > STALLED_AFTER
    }

    /// When to look again: soon at first, because somebody may be waiting.
    pub(super) fn later(&self, running: &RunningBackup) -> Came {
        let age = since(self.context.now(), running.started_at);
        Came::Along(cadence::waiting(age).min(LOOK_AT_LEAST))
    }

    /// An agent that holds another instruction just now, or whose PostgreSQL is just not there, is
    /// asked again soon; everything else is a failure.
    fn unanswered(&self, error: AgentError) -> Result<Came, TurnError> {
        let Some(refusal) = error.refusal().filter(|refusal| is_passing(refusal)) else {
            return Err(error.into());
        };
        tracing::debug!(
            timeline.id = %self.row.timeline, participant.id = %self.leader.participant,
            request_id = %self.row.request_id, detail = refusal.message,
            "an order for a backup was refused",
        );
        Ok(Came::Nowhere)
    }
}
