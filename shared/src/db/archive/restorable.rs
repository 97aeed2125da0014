//! What is stored about what can be restored.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use super::lsn;
use crate::archive::epoch::Parent;
use crate::archive::window::{Base, Hole, Span};
use crate::db::DbError;
use crate::db::resources::fork::timeline_of;
use crate::ids::{ResourceId, TimelineId};

/// What is known of the archive of a timeline: what [`windows`](crate::archive::window::windows)
/// are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restorable {
    /// Its epochs, in order.
    pub epochs: Vec<Span>,
    /// Its finished backups, in order.
    pub bases: Vec<Base>,
    /// Moment the newest of them was known to be finished; null without one.
    pub last_backup_at: Option<DateTime<Utc>>,
}

/// What can be restored of the timeline that `resource` is on; empty while it is on none.
pub async fn restorable_of(pool: &PgPool, resource: ResourceId) -> Result<Restorable, DbError> {
    let timeline = timeline_of(pool, resource).await?;
    match timeline {
        Some(timeline) => restorable(pool, timeline).await,
        None => Ok(Restorable::default()),
    }
}

/// What can be restored of a timeline.
pub async fn restorable(pool: &PgPool, timeline: TimelineId) -> Result<Restorable, DbError> {
    // In this order nothing that happens in between makes a window too large: a backup that is
    // deleted has lost its WAL before, and a gap is seen if the watermark behind it is.
    let (bases, last_backup_at) = bases(pool, timeline).await?;
    let mut epochs = spans(pool, timeline).await?;
    let holes = holes(pool, timeline).await?;
    for span in &mut epochs {
        let own = holes.iter().filter(|(epoch, _)| *epoch == span.number);
        span.holes = own.map(|(_, hole)| *hole).collect();
    }
    Ok(Restorable {
        epochs,
        bases,
        last_backup_at,
    })
}

async fn spans(ex: impl PgExecutor<'_>, timeline: TimelineId) -> Result<Vec<Span>, DbError> {
    let rows = sqlx::query!(
        r#"
        select
            number,
            -- A fork restores from its own backups: what was before it is its parent's.
            case when parent_timeline_id = timeline_id then parent_number end as parent_number,
            cut_lsn,
            coalesce(kept_from_lsn, start_lsn) as "kept_from!",
            watermark_lsn,
            complete_until
        from epochs
        where timeline_id = $1
        order by number
        limit 10000
        "#,
        timeline.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the epochs of a timeline"))?;
    Ok(rows
        .into_iter()
        .map(|row| Span {
            number: row.number.unsigned_abs(),
            parent: row
                .parent_number
                .zip(row.cut_lsn)
                .map(|(epoch, cut)| Parent {
                    timeline,
                    epoch: epoch.unsigned_abs(),
                    cut: lsn(cut),
                }),
            kept_from: lsn(row.kept_from),
            watermark: lsn(row.watermark_lsn),
            complete_until: row.complete_until,
            holes: Vec::new(),
        })
        .collect())
}

async fn holes(ex: impl PgExecutor<'_>, timeline: TimelineId) -> Result<Vec<(u32, Hole)>, DbError> {
    let rows = sqlx::query!(
        r#"
        select epoch_number, from_lsn, to_lsn, reached_at
        from gaps
        where timeline_id = $1
        order by epoch_number, from_lsn
        limit 10000
        "#,
        timeline.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the gaps of a timeline"))?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let hole = Hole {
                from: lsn(row.from_lsn),
                to: lsn(row.to_lsn),
                reached_at: row.reached_at,
            };
            (row.epoch_number.unsigned_abs(), hole)
        })
        .collect())
}

async fn bases(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
) -> Result<(Vec<Base>, Option<DateTime<Utc>>), DbError> {
    let rows = sqlx::query!(
        r#"
        select
            epoch_number,
            start_lsn as "start_lsn!",
            stop_lsn as "stop_lsn!",
            stopped_at as "stopped_at!",
            finished_at as "finished_at!"
        from backups
        where timeline_id = $1 and state = 'finished'
        order by id
        limit 10000
        "#,
        timeline.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the backups of a timeline"))?;
    let last = rows.iter().map(|row| row.finished_at).max();
    let bases = rows.into_iter().map(|row| Base {
        epoch: row.epoch_number.unsigned_abs(),
        start: lsn(row.start_lsn),
        stop: lsn(row.stop_lsn),
        stopped_at: row.stopped_at,
    });
    Ok((bases.collect(), last))
}
