//! What a turn of a backup is made from.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::Epoch;
use super::backups::BackupProgress;
use super::push::{Leader, LeaderColumns};
use crate::archive::layout::Run;
use crate::db::DbError;
use crate::domain::{BackupReason, ParticipantState};
use crate::ids::{BackupId, ParticipantId, RequestId, ResourceId, ServerId, TimelineId};

/// A timeline that a backup shall be made of.
#[derive(Debug, Clone)]
pub struct BackupRow {
    /// The timeline.
    pub timeline: TimelineId,
    /// Failed turns in a row.
    pub attempts: u32,
    /// Request that asked for it.
    pub request_id: RequestId,
    /// Its leader; null if none lives any more.
    pub leader: Option<Leader>,
    /// The backup under way; null before it is begun.
    pub running: Option<RunningBackup>,
}

/// A backup under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningBackup {
    /// The backup.
    pub id: BackupId,
    /// Epoch and `tli` it is made in.
    pub run: Run,
    /// Participant it is taken from: the leader of the epoch, or a follower.
    pub participant: ParticipantId,
    /// Why it was begun.
    pub reason: BackupReason,
    /// Moment its agent was known to work on it; null before.
    pub ordered_at: Option<DateTime<Utc>>,
    /// How far it is, as the agent last told.
    pub progress: BackupProgress,
    /// Moment its progress last moved.
    pub moved_at: DateTime<Utc>,
    /// Moment it was begun.
    pub started_at: DateTime<Utc>,
}

impl RunningBackup {
    /// Whether it is of this epoch, whoever it is taken from.
    pub fn is_of(&self, epoch: &Epoch) -> bool {
        self.run == epoch.record.run()
    }
}

/// What a backup of `timeline` is made from; null if nobody asks for one.
pub async fn load_backup(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<Option<BackupRow>, DbError> {
    let row = sqlx::query_as!(
        Joined,
        r#"
        select
            jobs.subject_id as "timeline: TimelineId",
            jobs.attempts,
            jobs.request_id as "request_id: RequestId",
            participants.id as "leader?: ParticipantId",
            participants.state as "leader_state?: ParticipantState",
            participants.generation as "leader_generation?",
            servers.id as "server?: ServerId",
            servers.host,
            servers.agent_port,
            plans.wal_push_interval_ms as "interval_ms?",
            (
                select resources.id
                from resources
                where resources.participant_id = participants.id and plans.dedicated
                limit 1
            ) as "resource?: ResourceId",
            running.id as "running?: BackupId",
            running.epoch_number as "running_epoch?",
            running.tli as "running_tli?",
            running.participant_id as "running_participant?: ParticipantId",
            running.reason as "running_reason?: BackupReason",
            running.ordered_at as "running_ordered_at?",
            running.bytes_done as "running_bytes_done?",
            running.bytes_total as "running_bytes_total?",
            running.moved_at as "running_moved_at?",
            running.started_at as "running_started_at?"
        from jobs
        left join participants
            on participants.timeline_id = jobs.subject_id
            and participants.role = 'leader'
            and participants.state <> 'removed'
            and participants.destroy_requested_at is null
        left join servers on servers.id = participants.server_id
        left join plans on plans.name = servers.plan
        left join backups as running
            on running.timeline_id = jobs.subject_id and running.state = 'running'
        where jobs.kind = 'base_backup' and jobs.subject_id = $1 and jobs.state = 'pending'
        "#,
        timeline.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("load what a backup is made from"))?;
    Ok(row.map(BackupRow::from))
}

struct Joined {
    timeline: TimelineId,
    attempts: i32,
    request_id: RequestId,
    leader: Option<ParticipantId>,
    leader_state: Option<ParticipantState>,
    leader_generation: Option<i64>,
    server: Option<ServerId>,
    host: Option<String>,
    agent_port: Option<i32>,
    interval_ms: Option<i32>,
    resource: Option<ResourceId>,
    running: Option<BackupId>,
    running_epoch: Option<i32>,
    running_tli: Option<i32>,
    running_participant: Option<ParticipantId>,
    running_reason: Option<BackupReason>,
    running_ordered_at: Option<DateTime<Utc>>,
    running_bytes_done: Option<i64>,
    running_bytes_total: Option<i64>,
    running_moved_at: Option<DateTime<Utc>>,
    running_started_at: Option<DateTime<Utc>>,
}

impl Joined {
    fn leader(&self) -> Option<Leader> {
        LeaderColumns {
            participant: self.leader,
            state: self.leader_state,
            generation: self.leader_generation,
            server: self.server,
            agent: (self.host.clone(), self.agent_port),
            interval_ms: self.interval_ms,
            resource: self.resource,
        }
        .leader()
    }

    fn running(&self) -> Option<RunningBackup> {
        Some(RunningBackup {
            id: self.running?,
            run: Run {
                epoch: self.running_epoch?.unsigned_abs(),
                tli: self.running_tli?.unsigned_abs(),
            },
            participant: self.running_participant?,
            reason: self.running_reason?,
            ordered_at: self.running_ordered_at,
            progress: BackupProgress {
                bytes_done: self.running_bytes_done?.unsigned_abs(),
                bytes_total: self.running_bytes_total?.unsigned_abs(),
            },
            moved_at: self.running_moved_at?,
            started_at: self.running_started_at?,
        })
    }
}

impl From<Joined> for BackupRow {
    fn from(row: Joined) -> Self {
        Self {
            timeline: row.timeline,
            attempts: row.attempts.unsigned_abs(),
            request_id: row.request_id,
            leader: row.leader(),
            running: row.running(),
        }
    }
}
