//! From whom a backup is taken: from a follower that has what its leader has, so that the leader does
//! not read all its files; else from the leader.
//!
//! Only the first attempt of a job goes to a follower. Whatever happens to it there, the next one is
//! the leader's, so that nothing that is wrong with followers keeps a timeline without a backup. Nor is
//! a follower believed for ever: what its files lack, all backups of it would lack.

use chrono::{DateTime, TimeDelta, Utc};
use shared::agent_api::client::AgentAddress;
use shared::agent_api::{InstanceStatus, Phase, SAMPLE_AGE_MAX};
use shared::db::archive::{
    FollowerToRead, RunningBackup, follower_of_backup, followers_to_back_up, newest_of_run,
    reason_for_backup,
};
use shared::domain::BackupReason;
use shared::ids::{ParticipantId, ServerId};
use shared::units::Lsn;
use tokio::time::sleep;

use super::Making;
use crate::context::Agents;
use crate::ring::TurnError;

/// Most bytes of WAL that a follower may be behind the archive: what a restore replays in a second or
/// two, four segments.
const BEHIND_AT_MOST: u64 = 64 * 1024 * 1024;

/// How old what a follower has may be. It is measured as often as followers are looked at.
const BEHIND_SINCE_AT_MOST: TimeDelta = TimeDelta::minutes(1);

/// How exactly is told when PostgreSQL was started.
const STARTED_WITHIN: TimeDelta = TimeDelta::seconds(1);

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
            BackupReason::Schedule if self.row.attempts == 0 => self.follower_that_is_fit().await?,
            // It must begin behind the gap, or behind whatever somebody asks for it because of; that of
            // a follower does so only after a checkpoint.
            BackupReason::Gap
            | BackupReason::First
            | BackupReason::Request
            | BackupReason::Schedule => None,
        };
        Ok((follower.unwrap_or_else(|| self.leading()), reason))
    }

    async fn follower_that_is_fit(&self) -> Result<Option<Source>, TurnError> {
        let (pool, timeline) = (&self.context.pool, self.row.timeline);
        let now = self.context.now();
        let times = (now - BEHIND_SINCE_AT_MOST, now);
        let followers = followers_to_back_up(pool, timeline, times).await?;
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
            let unfit = match status {
                None => Some("its agent does not answer"),
                Some(status) => match wanted.is_missing_in(status) {
                    None if self.is_ahead(status).await => Some("its leader has less than it"),
                    unfit => unfit,
                },
            };
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

    /// Whether it is not certain that the leader, asked after it, has all that a follower has.
    async fn is_ahead(&self, follower: &InstanceStatus) -> bool {
        let Some(replayed) = follower.standby().and_then(|standby| standby.replay_lsn) else {
            return true;
        };
        // What the leader's agent says may be older than what the follower's said.
        sleep(SAMPLE_AGE_MAX).await;
        let (flushed, _) = self.leader_now().await.unwrap_or_default();
        flushed < replayed
    }

    /// How far the leader has flushed at this moment, and since when its PostgreSQL runs; null if it
    /// does not say.
    async fn leader_now(&self) -> Option<(Lsn, DateTime<Utc>)> {
        let request_id = self.row.request_id;
        let asked = self.context.agents.ask(self.agent, request_id).await;
        let postgres = asked.status()?.leading(self.leader.participant)?;
        Some((postgres.flush_lsn?, postgres.started_at))
    }

    /// Why the files of a follower, which has ended its backup at `stop_lsn`, may be those of a history
    /// that its leader has lost; null if they are not, or it is of the leader. What a follower replays
    /// its leader had flushed before; what that has no more, it has lost since, or when it was started.
    pub(super) async fn has_lost_history(
        &self,
        running: &RunningBackup,
        stop_lsn: Lsn,
    ) -> Result<Option<&'static str>, Silent> {
        if !self.is_of_follower(running) {
            return Ok(None);
        }
        let (flushed, started_at) = self.leader_now().await.ok_or(Silent)?;
        Ok(if flushed < stop_lsn {
            Some("the follower has more than its leader")
        } else if started_at + STARTED_WITHIN > running.started_at {
            Some("the leader was started meanwhile, and may have lost what the follower has")
        } else {
            None
        })
    }
}

/// A leader that does not answer just now.
pub(super) struct Silent;

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
        let Some(standby) = status.standby() else {
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
