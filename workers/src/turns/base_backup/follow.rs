//! Following a backup: where the agent stands, and the places that it wants.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use shared::agent_api::backup::{BackupOrder, BackupPhase, BackupStatus};
use shared::agent_api::client::AgentError;
use shared::archive::store::StoreError;
use shared::db::archive::{BackupProgress, RunningBackup, note_backup_progress};
use shared::machine::cadence;

use super::source::{Silent, Source};
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

/// Longest time without progress after which a follower that does not take calls is still waited for.
/// The leader can be backed up instead.
const FOLLOWER_AWAY_AT_MOST: TimeDelta = TimeDelta::minutes(1);

impl Making<'_> {
    /// Looks where the backup stands, and brings it forward.
    pub(super) async fn follow(
        &self,
        running: &RunningBackup,
        source: Source,
    ) -> Result<Came, TurnError> {
        let client = self.context.agents.client();
        let request_id = self.row.request_id;
        let status = match client.backup_status(source.agent, request_id).await {
            Ok(status) => status,
            Err(error) if source.follows => return self.away(running, &error).await,
            Err(error) => return Err(error.into()),
        };
        let own = status.filter(|status| status.backup == running.id);
        let Some(status) = own else {
            return if running.ordered_at.is_some() {
                let problem = "its agent was restarted before it was complete";
                self.after_a_loss(running, problem).await
            } else {
                let at_first: Vec<u32> = (1..=PLACES_AT_FIRST).collect();
                self.order((running, source), &at_first).await
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
            BackupPhase::Running => self.order((running, source), &status.wants_pieces).await,
            BackupPhase::Finished { stop_lsn, .. } if self.epoch.watermark < *stop_lsn => {
                match self.has_lost_history(running, *stop_lsn).await {
                    Ok(Some(problem)) => self.give_up(running, problem).await,
                    Ok(None) | Err(Silent) => Ok(self.until_pushed(running).await),
                }
            }
            BackupPhase::Finished { .. } => self.finish(running).await,
            BackupPhase::Failed { detail } => self.give_up(running, detail).await,
        }
    }

    /// Tells the agent of the backup, or brings it these places.
    async fn order(
        &self,
        (running, source): (&RunningBackup, Source),
        pieces: &[u32],
    ) -> Result<Came, TurnError> {
        let order = self.order_of((running, source), pieces).await?;
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let client = self.context.agents.client();
        let answer = client.order_backup(source.agent, &order, self.row.request_id);
        let status = match answer.await {
            Ok(status) => status,
            Err(error) if source.follows => return self.away(running, &error).await,
            Err(error) => return self.unanswered(error),
        };
        self.context.borders.within().await;
        self.note(running, &status).await?;
        Ok(self.later(running))
    }

    async fn order_of(
        &self,
        (running, source): (&RunningBackup, Source),
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
            participant: source.participant,
            generation: source.generation,
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

    /// The agent of a follower does not answer, or refuses. It is asked again for a while, unless it
    /// refuses for good; nothing waits for it.
    async fn away(&self, running: &RunningBackup, error: &AgentError) -> Result<Came, TurnError> {
        let source: &dyn std::error::Error = error;
        let problem = shared::telemetry::chain(source).to_string();
        let refuses = error.refusal().is_some_and(|refusal| !is_passing(refusal));
        if refuses || self.context.now() - running.moved_at > FOLLOWER_AWAY_AT_MOST {
            return self.after_a_loss(running, &problem).await;
        }
        tracing::debug!(
            timeline.id = %self.row.timeline, participant.id = %running.participant,
            request_id = %self.row.request_id, error = problem,
            "the backup of a follower is waited for",
        );
        Ok(Came::Nowhere)
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
