//! Plans a restore from rows, and looks that its backup is in the archive.

use chrono::{DateTime, Utc};
use shared::archive::layout::Prefix;
use shared::archive::plan::{Plan, Target, Unplannable};
use shared::archive::sentinel::Sentinel;
use shared::db::archive::{Lineage, lineage};
use shared::db::jobs::JobKey;
use shared::domain::JobKind;
use shared::ids::{RequestId, TimelineId};
use shared::units::Lsn;

use crate::context::Context;
use crate::ring::TurnError;

/// Plans a restore of what the archive has of `timeline`; null while it has nothing.
pub(crate) async fn plan_what_is_archived(
    context: &Context,
    timeline: TimelineId,
) -> Result<Option<(Lineage, Result<Plan, Unplannable>)>, TurnError> {
    let Some(mut lineage) = lineage(&context.pool, timeline).await? else {
        return Ok(None);
    };
    let (_, complete_until) = archived(&lineage);
    let asked = (Target::End, complete_until);
    let planned = plan_with_what_is_there(context, &mut lineage, asked).await?;
    Ok(Some((lineage, planned)))
}

/// Plans with backups that are in the archive: rows of a control database that was put back may know
/// of some that were deleted since.
pub(super) async fn plan_with_what_is_there(
    context: &Context,
    lineage: &mut Lineage,
    (target, complete_until): (Target, DateTime<Utc>),
) -> Result<Result<Plan, Unplannable>, TurnError> {
    loop {
        let planned = lineage.plan(target, complete_until);
        let (Ok(plan), Some(archive)) = (&planned, &context.archive) else {
            return Ok(planned);
        };
        let prefix = Prefix {
            timeline: plan.backup.timeline,
            system_identifier: lineage.system_identifier,
        };
        let id = plan.backup.backup;
        if Sentinel::find(archive.store.as_ref(), prefix, id)
            .await?
            .is_some()
        {
            return Ok(planned);
        }
        tracing::warn!(backup.id = %id, "a backup that is on record is not in the archive");
        lineage.backups.retain(|taken| taken.backup != id);
    }
}

/// What the archive has: what is not known to be complete is not promised.
pub(super) fn archived(lineage: &Lineage) -> (Lsn, DateTime<Utc>) {
    let backups = lineage.backups.iter().map(|backup| backup.stopped_at);
    let until = lineage.complete_until.or_else(|| backups.max());
    (lineage.watermark, until.unwrap_or(DateTime::UNIX_EPOCH))
}

/// Asks for a backup of `timeline`: the first, or the one after a gap.
pub(crate) async fn ask_for_backup(
    context: &Context,
    timeline: TimelineId,
    request_id: RequestId,
) -> Result<(), TurnError> {
    let key = JobKey {
        kind: JobKind::BaseBackup,
        subject_id: timeline.as_uuid(),
    };
    context.ask(key, request_id).await?;
    Ok(())
}
