//! Who needs a backup, and who waits for one too long.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::lsn;
use crate::archive::schedule::{Facts, Last, NOISE_BYTES};
use crate::db::DbError;
use crate::domain::BackupReason;
use crate::ids::{ResourceId, TimelineId};

/// A timeline that may need a backup: its facts decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The timeline.
    pub timeline: TimelineId,
    /// What is known of it.
    pub facts: Facts,
}

/// Timelines with a leader that serves, that nobody asked to back up and that may need it; those
/// whose last backup is oldest first, at most 1,000.
pub async fn backup_candidates(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<Candidate>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select
            participants.timeline_id as "timeline: TimelineId",
            plans.backup_interval_s as interval_s,
            epochs.start_lsn,
            epochs.segment_bytes,
            epochs.watermark_lsn,
            last.epoch_number as "last_epoch?",
            last.start_lsn as "last_start?",
            last.stop_lsn as "last_stop?",
            last.started_at as "last_started_at?",
            gaps.epoch_number as "gap_epoch?",
            gaps.to_lsn as "gap_to?",
            requests.id is not null as "is_requested!"
        from participants
        join servers on servers.id = participants.server_id
        join plans on plans.name = servers.plan
        join epochs
            on epochs.timeline_id = participants.timeline_id
            and epochs.participant_id = participants.id
            and epochs.sealed_at is null
        left join newest_backups as last on last.timeline_id = participants.timeline_id
        left join newest_gaps as gaps on gaps.timeline_id = participants.timeline_id
        left join lateral (
            select operations.id
            from operations
            join resources on resources.id = operations.resource_id
            where
                operations.kind = 'capture'
                and operations.state = 'pending'
                and resources.participant_id = participants.id
            limit 1
        ) as requests on true
        left join jobs
            on jobs.kind = 'base_backup' and jobs.subject_id = participants.timeline_id
        where
            participants.role = 'leader'
            and participants.state = 'serving'
            and participants.destroy_requested_at is null
            and jobs.kind is null
            and (
                last.timeline_id is null
                or requests.id is not null
                or (gaps.epoch_number, gaps.to_lsn) > (last.epoch_number, last.start_lsn)
                -- Jitter makes no backup more than a fifth early; who is idle takes nobody's place.
                or (
                    last.started_at
                        <= $1::timestamptz - plans.backup_interval_s * 0.8 * interval '1 second'
                    and epochs.watermark_lsn - $2
                        > (last.stop_lsn / epochs.segment_bytes + 1) * epochs.segment_bytes
                )
            )
        order by last.started_at nulls first, participants.timeline_id
        limit 1000
        "#,
        now,
        i64::try_from(NOISE_BYTES).unwrap_or(i64::MAX),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list who may need a backup"))?;
    Ok(rows.into_iter().map(|row| row.candidate(now)).collect())
}

struct Row {
    timeline: TimelineId,
    interval_s: i32,
    start_lsn: i64,
    segment_bytes: i32,
    watermark_lsn: i64,
    last_epoch: Option<i32>,
    last_start: Option<i64>,
    last_stop: Option<i64>,
    last_started_at: Option<DateTime<Utc>>,
    gap_epoch: Option<i32>,
    gap_to: Option<i64>,
    is_requested: bool,
}

impl Row {
    fn candidate(self, now: DateTime<Utc>) -> Candidate {
        let last = self.last();
        let gap = self.gap_epoch.zip(self.gap_to);
        Candidate {
            timeline: self.timeline,
            facts: Facts {
                now,
                interval: Duration::from_secs(self.interval_s.unsigned_abs().into()),
                salt: salt(self.timeline, last.as_ref()),
                epoch_start: lsn(self.start_lsn),
                segment_bytes: self.segment_bytes.unsigned_abs(),
                watermark: lsn(self.watermark_lsn),
                last,
                gap: gap.map(|(epoch, to)| (epoch.unsigned_abs(), lsn(to))),
                is_requested: self.is_requested,
            },
        }
    }

    fn last(&self) -> Option<Last> {
        Some(Last {
            epoch: self.last_epoch?.unsigned_abs(),
            start: lsn(self.last_start?),
            stop: lsn(self.last_stop?),
            started_at: self.last_started_at?,
        })
    }
}

/// Why a backup of `timeline` is made now.
pub async fn reason_for_backup(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<BackupReason, DbError> {
    sqlx::query_scalar!(
        r#"
        select
            case
                when last.timeline_id is null then 'first'
                when (gaps.epoch_number, gaps.to_lsn) > (last.epoch_number, last.start_lsn)
                    then 'gap'
                when exists (
                    select
                    from operations
                    join resources on resources.id = operations.resource_id
                    join participants on participants.id = resources.participant_id
                    where
                        operations.kind = 'capture'
                        and operations.state = 'pending'
                        and participants.timeline_id = timelines.id
                )
                    then 'request'
                else 'schedule'
            end as "reason!: BackupReason"
        from timelines
        left join newest_backups as last on last.timeline_id = timelines.id
        left join newest_gaps as gaps on gaps.timeline_id = timelines.id
        where timelines.id = $1
        "#,
        timeline.as_uuid(),
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("find out why a backup is made"))
}

/// Another one for each timeline and for each of its backups, and the same until the next one.
fn salt(timeline: TimelineId, last: Option<&Last>) -> u64 {
    let (high, low) = timeline.as_uuid().as_u64_pair();
    high ^ low ^ last.map_or(0, |last| last.start.bytes())
}

/// A timeline whose backup is due, or about which somebody was told that it is late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueBackup {
    /// The timeline.
    pub timeline: TimelineId,
    /// The resource it belongs to; null if many share it.
    pub resource: Option<ResourceId>,
    /// Moment since which it is due; null if none is.
    pub since: Option<DateTime<Utc>>,
    /// Moment the one under way last moved; null if none is.
    pub moved_at: Option<DateTime<Utc>>,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// Seconds that its plan allows.
    pub grace_s: i32,
    /// Whether somebody was told.
    pub alert_is_open: bool,
}

/// Backups that are due, and timelines of which the alert can be cleared; those that are due longest
/// first, at most 1,000.
pub async fn due_backups(ex: impl PgExecutor<'_>) -> Result<Vec<DueBackup>, DbError> {
    sqlx::query_as!(
        DueBackup,
        r#"
        select
            participants.timeline_id as "timeline: TimelineId",
            (
                select resources.id
                from resources
                where resources.participant_id = participants.id and plans.dedicated
                limit 1
            ) as "resource?: ResourceId",
            jobs.created_at as "since?",
            running.moved_at as "moved_at?",
            jobs.last_error as "last_error?",
            plans.backup_grace_s as grace_s,
            (alerts.id is not null) as "alert_is_open!"
        from participants
        join servers on servers.id = participants.server_id
        join plans on plans.name = servers.plan
        left join jobs
            on jobs.kind = 'base_backup' and jobs.subject_id = participants.timeline_id
        left join backups as running
            on running.timeline_id = participants.timeline_id and running.state = 'running'
        left join alerts
            on alerts.name = 'backup-late'
            and alerts.subject_id = participants.timeline_id
            and alerts.cleared_at is null
        where
            participants.role = 'leader'
            and participants.state <> 'removed'
            and (jobs.kind is not null or alerts.id is not null)
        order by jobs.created_at, participants.timeline_id
        limit 1000
        "#,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list which backups are due"))
}
