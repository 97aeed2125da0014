//! Looks which timelines need a base backup, and whether those that are due come in time.

use std::time::Duration;

use metrics::gauge;
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::{DueBackup, backup_candidates, due_backups};
use shared::db::jobs::JobKey;
use shared::domain::{ArchiveAlert, JobKind};
use shared::ids::RequestId;
use shared::telemetry::metrics::archive;

use crate::context::Context;
use crate::ring::TurnError;
use crate::turns::since;

/// A backup whose progress moved so recently is on its way, however long it takes.
const MOVES: Duration = Duration::from_mins(5);

/// Asks for the backups that are due, and tells people about those that come too late.
pub async fn sweep(context: Context) -> Result<(), TurnError> {
    if context.archive.is_none() {
        return Ok(());
    }
    for candidate in backup_candidates(&context.pool, context.now()).await? {
        let Some(reason) = candidate.facts.due() else {
            continue;
        };
        let key = JobKey {
            kind: JobKind::BaseBackup,
            subject_id: candidate.timeline.as_uuid(),
        };
        let request_id = RequestId::new();
        if context.ask(key, request_id).await? {
            tracing::info!(
                timeline.id = %candidate.timeline, %reason, %request_id, "a backup is due",
            );
        }
    }
    let due = due_backups(&context.pool).await?;
    let waiting = due.iter().filter(|backup| backup.since.is_some()).count();
    gauge!(archive::BACKUPS_DUE).set(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
    for backup in &due {
        tell(&context, backup).await?;
    }
    Ok(())
}

/// Raises the alert of a timeline whose backup takes longer than its plan allows and does not move,
/// and clears that of one that has it.
async fn tell(context: &Context, backup: &DueBackup) -> Result<(), TurnError> {
    let (name, id) = (ArchiveAlert::BackupLate.as_str(), backup.timeline.as_uuid());
    let now = context.now();
    let Some(due_since) = backup.since else {
        alerts::clear(&context.pool, name, id, now).await?;
        return Ok(());
    };
    let moves = backup.moved_at.is_some_and(|at| since(now, at) < MOVES);
    let grace = u64::from(backup.grace_s.unsigned_abs());
    if since(now, due_since).as_secs() < grace || moves {
        return Ok(());
    }
    let detail = format!(
        "the base backup that is due since {} is not finished: {}",
        due_since.format("%Y-%m-%d %H:%M:%S UTC"),
        backup.last_error.as_deref().unwrap_or("nothing was tried")
    );
    let new = NewAlert {
        name,
        subject_kind: "timeline",
        subject_id: id,
        resource_id: backup.resource,
        detail: &detail,
        now,
    };
    if alerts::raise(&context.pool, &new).await? {
        tracing::error!(
            timeline.id = %backup.timeline, due.since = %due_since,
            "a base backup is late",
        );
    }
    Ok(())
}
