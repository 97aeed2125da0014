//! How well a resource is protected, for people.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::lsn;
use crate::db::DbError;
use crate::ids::ResourceId;
use crate::units::Lsn;

/// How well a resource is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// Whether anybody was asked to push its WAL.
    pub is_asked_for: bool,
    /// Number of the current epoch; null before the first.
    pub epoch: Option<i32>,
    /// Everything up to here is in the archive; null before the first epoch.
    pub watermark: Option<Lsn>,
    /// Moment the watermark last moved.
    pub watermark_at: Option<DateTime<Utc>>,
    /// Moment of the oldest position that is known to wait; null when none is.
    pub behind_since: Option<DateTime<Utc>>,
    /// Milliseconds between two pushes.
    pub interval_ms: i32,
    /// Seconds back to which it can be restored, by its plan.
    pub retention_s: i32,
    /// The newest gap in its archive; null if there is none.
    pub gap: Option<Gap>,
}

/// WAL that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First position that is missing.
    pub from: Lsn,
    /// First position after it that is there.
    pub to: Lsn,
    /// Moment it was found.
    pub found_at: DateTime<Utc>,
}

/// How well `resource` is protected; null while it is not placed.
pub async fn protection_of(
    ex: impl PgExecutor<'_>,
    resource: ResourceId,
) -> Result<Option<Protection>, DbError> {
    let row = sqlx::query!(
        r#"
        select
            exists (
                select
                from jobs
                where jobs.kind = 'wal_push' and jobs.subject_id = participants.timeline_id
            ) as "is_asked_for!",
            plans.wal_push_interval_ms,
            plans.retention_s,
            epochs.number as "number?",
            epochs.watermark_lsn as "watermark_lsn?",
            epochs.watermark_at as "watermark_at?",
            epochs.behind_since as "behind_since?",
            gaps.from_lsn as "from_lsn?",
            gaps.to_lsn as "to_lsn?",
            gaps.found_at as "found_at?"
        from resources
        join participants on participants.id = resources.participant_id
        join servers on servers.id = participants.server_id
        join plans on plans.name = servers.plan
        left join lateral (
            select number, watermark_lsn, watermark_at, behind_since
            from epochs
            where epochs.timeline_id = participants.timeline_id
            order by number desc
            limit 1
        ) as epochs on true
        left join lateral (
            select from_lsn, to_lsn, found_at
            from gaps
            where gaps.timeline_id = participants.timeline_id
            order by epoch_number desc, from_lsn desc
            limit 1
        ) as gaps on true
        where resources.id = $1
        "#,
        resource.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("read how well a resource is protected"))?;
    Ok(row.map(|row| Protection {
        is_asked_for: row.is_asked_for,
        epoch: row.number,
        watermark: row.watermark_lsn.map(lsn),
        watermark_at: row.watermark_at,
        behind_since: row.behind_since,
        interval_ms: row.wal_push_interval_ms,
        retention_s: row.retention_s,
        gap: row
            .from_lsn
            .zip(row.to_lsn)
            .zip(row.found_at)
            .map(|((from, to), found_at)| Gap {
                from: lsn(from),
                to: lsn(to),
                found_at,
            }),
    }))
}
