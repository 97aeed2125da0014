//! What is stored about a history that may begin on other timelines: what a restore is planned from.

use std::collections::HashMap;
use std::ops::Range;

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use super::lsn;
use crate::agent_api::restore::{Rename, RestoreSource};
use crate::archive::layout::Run;
use crate::archive::plan::{Known, Plan, Taken, Target, Unplannable, Written, plan, windows};
use crate::db::DbError;
use crate::ids::{BackupId, TimelineId};
use crate::units::Lsn;

/// Epochs and finished backups of a timeline and of all that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Its epochs and those of its ancestors.
    pub epochs: Vec<Written>,
    /// Their finished backups.
    pub backups: Vec<Taken>,
    /// The newest epoch of the timeline itself.
    pub tip: (TimelineId, u32),
    /// Everything of that epoch up to here is in the archive.
    pub watermark: Lsn,
    /// Everything that was committed before this moment is in the archive; null while that is not
    /// known.
    pub complete_until: Option<DateTime<Utc>>,
    /// Moment its own history began; null if it comes from no other timeline.
    pub began_at: Option<DateTime<Utc>>,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
    /// Size of a WAL segment of the cluster, in bytes.
    pub segment_bytes: u32,
}

impl Lineage {
    /// Plans a restore to `target`, if everything that was committed before `complete_until` is below
    /// the watermark. What was before the timeline's own history began is its parent's: to be restored
    /// from there.
    ///
    /// # Errors
    /// [`Unplannable`] names what can be restored.
    pub fn plan(&self, target: Target, complete_until: DateTime<Utc>) -> Result<Plan, Unplannable> {
        let known = self.known(complete_until);
        let planned = plan(&known, target)?;
        let is_own = match (target, self.began_at) {
            (Target::Time { at }, Some(began_at)) => at >= began_at,
            (Target::Lsn { .. }, Some(_)) => {
                let last = planned.path.last();
                last.is_some_and(|leg| leg.timeline == self.tip.0)
            }
            (Target::End, _) | (_, None) => true,
        };
        if is_own {
            return Ok(planned);
        }
        let mut windows = windows(&known)?;
        for window in &mut windows.0 {
            window.from = window.from.max(self.began_at.unwrap_or(window.from));
        }
        Err(Unplannable::OutsideOfWindows { target, windows })
    }

    /// What an agent is told to restore by `plan`, which was made of this.
    pub fn source(&self, plan: Plan, postgres_major: u16, renames: Vec<Rename>) -> RestoreSource {
        RestoreSource {
            postgres_major,
            system_identifier: self.system_identifier,
            timeline: plan.backup.timeline,
            backup: plan.backup.backup,
            path: plan.path,
            target: plan.target,
            complete_until: plan.complete_until,
            renames,
        }
    }

    /// What a restore is planned from, if everything that was committed before `complete_until` is
    /// below the watermark.
    fn known(&self, complete_until: DateTime<Utc>) -> Known<'_> {
        Known {
            epochs: &self.epochs,
            tip: self.tip,
            backups: &self.backups,
            complete_until,
        }
    }
}

/// The history that `timeline` is the end of; null before its first epoch.
pub async fn lineage(pool: &PgPool, timeline: TimelineId) -> Result<Option<Lineage>, DbError> {
    // In this order nothing that happens in between makes it too long: a backup that is deleted has
    // lost its WAL before, and a gap is seen if the watermark behind it is.
    let backups = backups(pool, timeline).await?;
    let rows = epochs(pool, timeline).await?;
    let mut gaps = gaps(pool, timeline).await?;
    let own = rows.iter().filter(|row| row.timeline == timeline);
    let Some(tip) = own.max_by_key(|row| row.number) else {
        return Ok(None);
    };
    let system_identifier = tip.system_identifier.parse();
    let lineage = Lineage {
        backups,
        tip: (timeline, tip.number.unsigned_abs()),
        watermark: lsn(tip.watermark_lsn),
        complete_until: tip.complete_until,
        began_at: rows
            .iter()
            .find(|row| row.timeline == timeline && row.is_branch())
            .map(|row| row.created_at),
        system_identifier: system_identifier.map_err(|error: std::num::ParseIntError| {
            DbError::Malformed {
                action: "read a history",
                column: "epochs.system_identifier",
                source: error.into(),
            }
        })?,
        segment_bytes: tip.segment_bytes.unsigned_abs(),
        epochs: rows.iter().map(|row| row.written(&mut gaps)).collect(),
    };
    Ok(Some(lineage))
}

struct Row {
    timeline: TimelineId,
    number: i32,
    tli: i32,
    system_identifier: String,
    segment_bytes: i32,
    start_lsn: i64,
    watermark_lsn: i64,
    complete_until: Option<DateTime<Utc>>,
    parent_timeline: Option<TimelineId>,
    parent_number: Option<i32>,
    cut_lsn: Option<i64>,
    kept_from_lsn: Option<i64>,
    created_at: DateTime<Utc>,
}

/// What is missing, by epoch.
type Gaps = HashMap<(TimelineId, i32), Vec<Range<Lsn>>>;

impl Row {
    /// Whether it went on from an epoch of another timeline.
    fn is_branch(&self) -> bool {
        let parent = self.parent_timeline;
        parent.is_some_and(|parent| parent != self.timeline)
    }

    fn written(&self, gaps: &mut Gaps) -> Written {
        let mut missing = gaps
            .remove(&(self.timeline, self.number))
            .unwrap_or_default();
        // What was let go of is as good as lost.
        if let Some(kept_from) = self.kept_from_lsn.filter(|from| *from > self.start_lsn) {
            missing.retain(|gap| gap.end > lsn(kept_from));
            missing.insert(0, lsn(self.start_lsn)..lsn(kept_from));
        }
        let parent = self
            .parent_timeline
            .zip(self.parent_number)
            .zip(self.cut_lsn);
        Written {
            timeline: self.timeline,
            run: Run {
                epoch: self.number.unsigned_abs(),
                tli: self.tli.unsigned_abs(),
            },
            start: lsn(self.start_lsn),
            watermark: lsn(self.watermark_lsn),
            gaps: missing,
            parent: parent
                .map(|((timeline, number), cut)| (timeline, number.unsigned_abs(), lsn(cut))),
        }
    }
}

async fn epochs(ex: impl PgExecutor<'_>, timeline: TimelineId) -> Result<Vec<Row>, DbError> {
    sqlx::query_as!(
        Row,
        r#"
        select
            timeline_id as "timeline: TimelineId",
            number,
            tli,
            system_identifier,
            segment_bytes,
            start_lsn,
            watermark_lsn,
            complete_until,
            parent_timeline_id as "parent_timeline: TimelineId",
            parent_number,
            cut_lsn,
            kept_from_lsn,
            created_at
        from epochs
        where timeline_id in (select history_of($1))
        order by timeline_id, number
        limit 10000
        "#,
        timeline.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the epochs of a history"))
}

async fn gaps(ex: impl PgExecutor<'_>, timeline: TimelineId) -> Result<Gaps, DbError> {
    let rows = sqlx::query!(
        r#"
        select timeline_id as "timeline: TimelineId", epoch_number, from_lsn, to_lsn
        from gaps
        where timeline_id in (select history_of($1))
        order by timeline_id, epoch_number, from_lsn
        limit 10000
        "#,
        timeline.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the gaps of a history"))?;
    let mut gaps = Gaps::new();
    for row in rows {
        gaps.entry((row.timeline, row.epoch_number))
            .or_default()
            .push(lsn(row.from_lsn)..lsn(row.to_lsn));
    }
    Ok(gaps)
}

async fn backups(ex: impl PgExecutor<'_>, timeline: TimelineId) -> Result<Vec<Taken>, DbError> {
    let rows = sqlx::query!(
        r#"
        select
            id as "id: BackupId",
            timeline_id as "timeline: TimelineId",
            epoch_number,
            tli,
            start_lsn as "start_lsn!",
            stop_lsn as "stop_lsn!",
            stopped_at as "stopped_at!",
            damaged_pages
        from backups
        where timeline_id in (select history_of($1)) and state = 'finished'
        order by id
        limit 10000
        "#,
        timeline.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the backups of a history"))?;
    let taken = rows.into_iter().map(|row| Taken {
        backup: row.id,
        timeline: row.timeline,
        run: Run {
            epoch: row.epoch_number.unsigned_abs(),
            tli: row.tli.unsigned_abs(),
        },
        start_lsn: lsn(row.start_lsn),
        stop_lsn: lsn(row.stop_lsn),
        stopped_at: row.stopped_at,
        is_damaged: row.damaged_pages.is_some_and(|pages| pages > 0),
    });
    Ok(taken.collect())
}
