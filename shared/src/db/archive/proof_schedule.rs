//! Whose proof is oldest, and who waits for one that nobody works on.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Uuid;

use crate::archive::proving::Facts;
use crate::db::DbError;
use crate::ids::{ResourceId, TimelineId};

/// A timeline that is to be proven from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provable {
    /// The timeline.
    pub timeline: TimelineId,
    /// The resource that has it for itself; null if many share it.
    pub resource: Option<ResourceId>,
    /// Whether a proof is under way.
    pub is_under_way: bool,
    /// What decides.
    pub facts: Facts,
}

/// Timelines with a leader whose WAL is archived, those that were not proven for longest first; at
/// most 1,000.
pub async fn provable(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<Provable>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select
            participants.timeline_id as "timeline: TimelineId",
            (
                select resources.id
                from resources
                where resources.participant_id = participants.id and plans.dedicated
                limit 1
            ) as "resource?: ResourceId",
            plans.proof_interval_s as interval_s,
            plans.proof_grace_s as grace_s,
            greatest(epochs.created_at, plans.proofs_since) as "since!",
            proven.finished_at as proven_at,
            failed.times as "failures!",
            failed.last_at as failed_at,
            exists (
                select
                from backups
                where
                    backups.timeline_id = participants.timeline_id and backups.state = 'finished'
            ) as "has_backup!",
            exists (
                select
                from proofs
                where
                    proofs.timeline_id = participants.timeline_id
                    and proofs.state in ('wanted', 'restoring', 'checking')
            ) as "is_under_way!"
        from participants
        join servers on servers.id = participants.server_id
        join plans on plans.name = servers.plan
        join epochs on epochs.timeline_id = participants.timeline_id and epochs.number = 1
        left join lateral (
            select proofs.id, proofs.finished_at
            from proofs
            where proofs.timeline_id = participants.timeline_id and proofs.state = 'succeeded'
            order by proofs.id desc
            limit 1
        ) as proven on true
        left join lateral (
            select count(*) as times, max(proofs.finished_at) as last_at
            from proofs
            where
                proofs.timeline_id = participants.timeline_id
                and proofs.state = 'failed'
                and (proven.id is null or proofs.id > proven.id)
        ) as failed on true
        where
            participants.role = 'leader'
            and participants.state in ('serving', 'down')
            and participants.destroy_requested_at is null
        order by
            coalesce(proven.finished_at, greatest(epochs.created_at, plans.proofs_since)),
            participants.timeline_id
        limit 1000
        "#,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list who is to be proven"))?;
    Ok(rows.into_iter().map(|row| row.provable(now)).collect())
}

struct Row {
    timeline: TimelineId,
    resource: Option<ResourceId>,
    interval_s: i32,
    grace_s: i32,
    since: DateTime<Utc>,
    proven_at: Option<DateTime<Utc>>,
    failures: i64,
    failed_at: Option<DateTime<Utc>>,
    has_backup: bool,
    is_under_way: bool,
}

impl Row {
    fn provable(self, now: DateTime<Utc>) -> Provable {
        let seconds = |seconds: i32| Duration::from_secs(seconds.unsigned_abs().into());
        Provable {
            timeline: self.timeline,
            resource: self.resource,
            is_under_way: self.is_under_way,
            facts: Facts {
                now,
                interval: seconds(self.interval_s),
                grace: seconds(self.grace_s),
                since: self.since,
                proven_at: self.proven_at,
                failures: u32::try_from(self.failures).unwrap_or(u32::MAX),
                failed_at: self.failed_at,
                has_backup: self.has_backup,
            },
        }
    }
}

/// How many proofs are wanted or under way.
pub async fn proofs_under_way(ex: impl PgExecutor<'_>) -> Result<u32, DbError> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
        from proofs
        where
            state in ('restoring', 'checking')
            -- Those that were asked for do not hold up the others: all get their turn.
            or (state = 'wanted' and reason = 'schedule')
        "#,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("count the proofs under way"))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Sees to it that every proof under way has its job; gives the timelines that had none.
pub async fn ask_for_lost_proofs(
    ex: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, DbError> {
    sqlx::query_scalar!(
        r#"
        insert into jobs (kind, subject_id, request_id, created_at, changed_at)
        select 'verify', timeline_id, request_id, $1, $1
        from proofs
        where
            state in ('wanted', 'restoring', 'checking')
            and not exists (
                select
                from jobs
                where jobs.kind = 'verify' and jobs.subject_id = proofs.timeline_id
            )
        order by id
        limit 1000
        on conflict (kind, subject_id) do nothing
        returning subject_id
        "#,
        now,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("ask for proofs that nobody works on"))
}
