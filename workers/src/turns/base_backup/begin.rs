//! The row of a backup, before anybody is told of it.

use std::time::Duration;

use shared::db::archive::{NewBackup, begin_backup};
use shared::ids::BackupId;

use super::{Came, Making};
use crate::ring::TurnError;

impl Making<'_> {
    /// Begins a backup of the newest epoch. Whoever is second goes on with that of the first.
    pub(super) async fn begin(&self) -> Result<Came, TurnError> {
        let context = self.context;
        if self.epoch.watermark <= self.epoch.record.start {
            return Ok(Came::Nowhere);
        }
        let (source, reason) = self.choose().await?;
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let new = NewBackup {
            id: BackupId::new(),
            timeline: self.row.timeline,
            run: self.epoch.record.run(),
            participant: source.participant,
            reason,
            request_id: self.row.request_id,
            now: context.now(),
        };
        if begin_backup(&context.pool, &new).await? {
            tracing::info!(
                at = "start", timeline.id = %new.timeline, backup.id = %new.id,
                participant.id = %new.participant, follower = source.follows,
                reason = %new.reason, request_id = %new.request_id, "base backup",
            );
        }
        context.borders.within().await;
        Ok(Came::Along(Duration::ZERO))
    }
}
