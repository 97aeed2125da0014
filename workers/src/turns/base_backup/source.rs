//! From whom a backup is taken: from a follower that has what its leader has, so that the leader does
//! not read all its files; else from the leader.
//!
//! Only the first attempt of a job goes to a follower. Whatever happens to it there, the next one is
//! the leader's, so that nothing that is wrong with followers keeps a timeline without a backup.

use chrono::TimeDelta;
use shared::agent_api::client::AgentAddress;
use shared::agent_api::{InstanceStatus, Phase};
use shared::db::archive::{
    FollowerToRead, RunningBackup, follower_of_backup, followers_to_back_up, newest_of_run,
    reason_for_backup,
};
use shared::domain::BackupReason;
use shared::ids::{ParticipantId, ServerId};
use shared::units::Lsn;

use super::Making;
use crate::context::Agents;
use crate::ring::TurnError;

/// Most bytes of WAL that a follower may be behind the archive: what a restore replays in a second or
/// two, four segments.
const BEHIND_AT_MOST: u64 = 64 * 1024 * 1024;

/// How old what a follower has may be. It is measured as often as followers are looked at.
const BEHIND_SINCE_AT_MOST: TimeDelta = TimeDelta::minutes(1);

/// Whom a backup is taken from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) participant: ParticipantId,
    /// Number of its newest instruction.
    pub(super) generation: u64,
    pub(super) agent: AgentAddress,
    pub(super) follows: bool,
}

impl Source {
    fn following(follower: &FollowerToRead) -> Option<Self> {
        Some(Self {
            participant: follower.participant,
            generation: follower.generation,
            agent: Agents::address(follower.server, follower.agent.as_ref()?)?,
            follows: true,
        })
    }
}

impl Making<'_> {
    pub(super) const fn leading(&self) -> Source {
        Source {
            participant: self.leader.participant,
            generation: self.leader.generation,
            agent: self.agent,
            follows: false,
        }
    }

    /// Whether a backup is not of the leader, whose WAL it needs.
    pub(super) fn is_of_follower(&self, running: &RunningBackup) -> bool {
        running.participant != self.epoch.record.participant
    }

    /// Whom a running backup is taken from; none if that is a follower which is none any more, or
    /// does not serve.
    pub(super) async fn source_of(
        &self,
        running: &RunningBackup,
    ) -> Result<Option<Source>, TurnError> {
        if !self.is_of_follower(running) {
            return Ok(Some(self.leading()));
        }
        let follower = follower_of_backup(&self.context.pool, running.id).await?;
        Ok(follower.as_ref().and_then(Source::following))
    }

    /// Whom the next backup is taken from, and why it is made.
    pub(super) async fn choose(&self) -> Result<(Source, BackupReason), TurnError> {
        let timeline = self.row.timeline;
        let reason = reason_for_backup(&self.context.pool, timeline).await?;
        let follower = match reason {
            BackupReason::Request | BackupReason::Schedule if self.row.attempts == 0 => {
                self.follower_that_is_fit().await?
            }
            // It must begin behind the gap, which that of a follower does only after a checkpoint.
            BackupReason::Gap
            | BackupReason::First
            | BackupReason::Request
            | BackupReason::Schedule => None,
        };
        Ok((follower.unwrap_or_else(|| self.leading()), reason))
    }

    async fn follower_that_is_fit(&self) -> Result<Option<Source>, TurnError> {
        let (pool, timeline) = (&self.context.pool, self.row.timeline);
        let recently = self.context.now() - BEHIND_SINCE_AT_MOST;
        let followers = followers_to_back_up(pool, timeline, recently).await?;
        if followers.is_empty() {
            return Ok(None);
        }
        let newest = newest_of_run(pool, timeline, self.epoch.record.run()).await?;
        for source in followers.iter().filter_map(Source::following) {
            let wanted = Wanted {
                source,
                leader: self.leader.server,
                reached: self.epoch.watermark.max(self.epoch.flush),
                backed_up: newest.map(|newest| newest.stop_lsn).unwrap_or_default(),
            };
            let request_id = self.row.request_id;
            let asked = self.context.agents.ask(source.agent, request_id).await;
            let status = asked.status();
            let unfit = status.map_or(Some("its agent does not answer"), |status| {
                wanted.is_missing_in(status)
            });
            let Some(unfit) = unfit else {
                return Ok(Some(source));
            };
            tracing::info!(
                timeline.id = %timeline, participant.id = %source.participant,
                %request_id, reason = unfit, "a follower is not backed up",
            );
        }
        Ok(None)
    }
}

/// What a follower must be for a backup.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    source: Source,
    /// Server of its leader.
    leader: ServerId,
    /// How far the leader is known to have flushed.
    reached: Lsn,
    /// End of the newest backup: one that ends before it is good for nothing.
    backed_up: Lsn,
}

impl Wanted {
    /// What is wrong with a follower; null if nothing is.
    fn is_missing_in(&self, status: &InstanceStatus) -> Option<&'static str> {
        let is_held = status.participant == Some(self.source.participant)
            && status.generation == self.source.generation;
        if !is_held || status.phase != Phase::Running {
            return Some("it is not as it shall be");
        }
        let postgres = status.postgres.as_ref();
        let Some(standby) = postgres.and_then(|postgres| postgres.standby.as_ref()) else {
            return Some("its PostgreSQL does not follow");
        };
        if standby.streams_from != Some(self.leader) {
            return Some("it does not stream from the leader");
        }
        if standby.paused.is_some() {
            return Some("its replay stands still");
        }
        let replayed = standby.replay_lsn.unwrap_or_default();
        let is_behind = replayed.bytes().saturating_add(BEHIND_AT_MOST) < self.reached.bytes();
        (is_behind || replayed < self.backed_up).then_some("it is too far behind")
    }
}

#[cfg(test)]
mod tests;
