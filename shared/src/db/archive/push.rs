//! What a push is made from: one row with everything.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Json;

use super::epochs::{Epoch, Row};
use crate::agent_api::restore::RestoreSource;
use crate::db::DbError;
use crate::domain::{ParticipantState, WalRoom};
use crate::ids::{ParticipantId, RequestId, ResourceId, ServerId, TimelineId};
use crate::ports::Address;

/// A timeline whose WAL shall be pushed.
#[derive(Debug, Clone)]
pub struct PushRow {
    /// The timeline.
    pub timeline: TimelineId,
    /// Failed turns in a row.
    pub attempts: u32,
    /// Request that asked for it.
    pub request_id: RequestId,
    /// Its leader; null if none lives any more.
    pub leader: Option<Leader>,
    /// Its newest epoch; null before the first.
    pub epoch: Option<Epoch>,
    /// What the leader was restored from; null if it began empty, and once an epoch is there.
    pub birth: Option<RestoreSource>,
    /// Whether it followed another leader, beyond the end of what it was restored from.
    pub followed: bool,
    /// Names of the open alerts about it.
    pub open_alerts: Vec<String>,
    /// What WAL may take of the disk of the leader.
    pub room: WalRoom,
}

/// A leader that is not on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The participant.
    pub participant: ParticipantId,
    /// Where it is in its life.
    pub state: ParticipantState,
    /// Number of its newest instruction.
    pub generation: u64,
    /// Its server.
    pub server: ServerId,
    /// Where its agent is reached; null before that is known.
    pub agent: Option<Address>,
    /// Milliseconds between two pushes.
    pub interval_ms: u64,
    /// The resource that has it for itself; null if many share it.
    pub resource: Option<ResourceId>,
}

/// The columns of a leader as an outer join gives them.
pub(super) struct LeaderColumns {
    pub(super) participant: Option<ParticipantId>,
    pub(super) state: Option<ParticipantState>,
    pub(super) generation: Option<i64>,
    pub(super) server: Option<ServerId>,
    /// Host and port.
    pub(super) agent: (Option<String>, Option<i32>),
    pub(super) interval_ms: Option<i32>,
    pub(super) resource: Option<ResourceId>,
}

impl LeaderColumns {
    /// The leader; null if none was joined.
    pub(super) fn leader(self) -> Option<Leader> {
        let (host, port) = self.agent;
        Some(Leader {
            participant: self.participant?,
            state: self.state?,
            generation: self.generation?.unsigned_abs(),
            server: self.server?,
            agent: host.zip(port).and_then(|(host, port)| {
                let port = u16::try_from(port).ok()?;
                Some(Address { host, port })
            }),
            interval_ms: u64::from(self.interval_ms?.unsigned_abs()),
            resource: self.resource,
        })
    }
}

/// What a push of `timeline` is made from; null if nobody asks for one.
pub async fn load_push(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<Option<PushRow>, DbError> {
    let row = sqlx::query_as!(
        Joined,
        r#"
        select
            jobs.subject_id as "timeline: TimelineId",
            jobs.attempts, jobs.request_id as "request_id: RequestId",
            array(
                select alerts.name
                from alerts
                where alerts.subject_id = jobs.subject_id and alerts.cleared_at is null
            ) as "open_alerts!",
            case when epochs.number is null then restores.source end as "birth?: Json<RestoreSource>",
            exists (select from forks where restore_id = restores.id and follows) as "followed!",
            participants.id as "leader?: ParticipantId",
            participants.state as "leader_state?: ParticipantState",
            participants.generation as "leader_generation?",
            servers.id as "server?: ServerId",
            servers.host, servers.agent_port, servers.disk_bytes,
            plans.wal_push_interval_ms as "interval_ms?",
            (
                select resources.id
                from resources
                where resources.participant_id = participants.id and plans.dedicated
                limit 1
            ) as "resource?: ResourceId",
            epochs.number as "number?",
            epochs.participant_id as "participant?: ParticipantId",
            epochs.generation as "generation?",
            epochs.tli as "tli?", epochs.system_identifier as "system_identifier?",
            epochs.segment_bytes as "segment_bytes?",
            epochs.start_lsn as "start_lsn?",
            epochs.parent_timeline_id as "parent_timeline?: TimelineId",
            epochs.parent_number, epochs.cut_lsn,
            epochs.watermark_lsn as "watermark_lsn?", epochs.watermark_at as "watermark_at?",
            epochs.complete_until, epochs.complete_lsn,
            epochs.tail_lsn, epochs.tail_end_lsn,
            epochs.compacted_lsn as "compacted_lsn?",
            epochs.compaction_failures as "compaction_failures?",
            epochs.compaction_retry_at,
            epochs.flush_lsn as "flush_lsn?",
            epochs.behind_lsn, epochs.behind_since, epochs.sealed_at,
            epochs.created_at as "epoch_created_at?"
        from jobs
        left join participants
            on participants.timeline_id = jobs.subject_id
            and participants.role = 'leader'
            and participants.state <> 'removed'
            and participants.destroy_requested_at is null
        left join restores on restores.id = participants.restore_id
        left join servers on servers.id = participants.server_id
        left join plans on plans.name = servers.plan
        left join lateral (
            select *
            from epochs
            where epochs.timeline_id = jobs.subject_id
            order by epochs.number desc
            limit 1
        ) as epochs on true
        where jobs.kind = 'wal_push' and jobs.subject_id = $1 and jobs.state = 'pending'
        "#,
        timeline.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("load what a push is made from"))?;
    row.map(PushRow::try_from).transpose()
}

struct Joined {
    timeline: TimelineId,
    attempts: i32,
    request_id: RequestId,
    open_alerts: Vec<String>,
    birth: Option<Json<RestoreSource>>,
    followed: bool,
    leader: Option<ParticipantId>,
    leader_state: Option<ParticipantState>,
    leader_generation: Option<i64>,
    server: Option<ServerId>,
    host: Option<String>,
    agent_port: Option<i32>,
    disk_bytes: Option<i64>,
    interval_ms: Option<i32>,
    resource: Option<ResourceId>,
    number: Option<i32>,
    participant: Option<ParticipantId>,
    generation: Option<i64>,
    tli: Option<i32>,
    system_identifier: Option<String>,
    segment_bytes: Option<i32>,
    start_lsn: Option<i64>,
    parent_timeline: Option<TimelineId>,
    parent_number: Option<i32>,
    cut_lsn: Option<i64>,
    watermark_lsn: Option<i64>,
    watermark_at: Option<DateTime<Utc>>,
    complete_until: Option<DateTime<Utc>>,
    complete_lsn: Option<i64>,
    tail_lsn: Option<i64>,
    tail_end_lsn: Option<i64>,
    compacted_lsn: Option<i64>,
    compaction_failures: Option<i32>,
    compaction_retry_at: Option<DateTime<Utc>>,
    flush_lsn: Option<i64>,
    behind_lsn: Option<i64>,
    behind_since: Option<DateTime<Utc>>,
    sealed_at: Option<DateTime<Utc>>,
    epoch_created_at: Option<DateTime<Utc>>,
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

    fn epoch(self) -> Option<Row> {
        Some(Row {
            timeline: self.timeline,
            number: self.number?,
            participant: self.participant?,
            generation: self.generation?,
            tli: self.tli?,
            system_identifier: self.system_identifier?,
            segment_bytes: self.segment_bytes?,
            start_lsn: self.start_lsn?,
            parent_timeline: self.parent_timeline,
            parent_number: self.parent_number,
            cut_lsn: self.cut_lsn,
            watermark_lsn: self.watermark_lsn?,
            watermark_at: self.watermark_at?,
            complete_until: self.complete_until,
            complete_lsn: self.complete_lsn,
            tail_lsn: self.tail_lsn,
            tail_end_lsn: self.tail_end_lsn,
            compacted_lsn: self.compacted_lsn?,
            compaction_failures: self.compaction_failures?,
            compaction_retry_at: self.compaction_retry_at,
            flush_lsn: self.flush_lsn?,
            behind_lsn: self.behind_lsn,
            behind_since: self.behind_since,
            sealed_at: self.sealed_at,
            created_at: self.epoch_created_at?,
        })
    }
}

impl TryFrom<Joined> for PushRow {
    type Error = DbError;

    fn try_from(row: Joined) -> Result<Self, DbError> {
        Ok(Self {
            timeline: row.timeline,
            attempts: row.attempts.unsigned_abs(),
            request_id: row.request_id,
            leader: row.leader(),
            birth: row.birth.as_ref().map(|Json(source)| source.clone()),
            followed: row.followed,
            open_alerts: row.open_alerts.clone(),
            room: WalRoom::on(row.disk_bytes.map(i64::unsigned_abs)),
            epoch: row.epoch().map(Epoch::try_from).transpose()?,
        })
    }
}
