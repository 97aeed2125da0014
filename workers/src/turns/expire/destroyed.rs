//! The end of the archive of a timeline that was destroyed.

use std::collections::BTreeSet;

use shared::archive::layout::{all_of, sentinel_beside};
use shared::db::archive::{KeptBackup, note_archive_deleted};
use shared::domain::BackupState;

use super::{Came, Expiring};
use crate::ring::TurnError;

impl Expiring<'_> {
    /// Marks the next of its backups; without any, deletes whatever is left.
    pub(super) async fn delete_everything(
        &self,
        backups: &[KeptBackup],
    ) -> Result<Came, TurnError> {
        let mut finished = backups.iter();
        if let Some(backup) = finished.find(|backup| backup.state == BackupState::Finished) {
            return self.mark(backup, None).await;
        }
        if !backups.is_empty() {
            // One failed a moment ago: something may still be on its way.
            return Ok(Came::ToTheEnd);
        }
        let timeline = self.row.timeline;
        let listed = self.first_of(&all_of(timeline)).await?;
        if listed.is_empty() {
            let now = self.context.now();
            let noted = note_archive_deleted(&self.context.pool, timeline, now).await?;
            tracing::info!(
                timeline.id = %timeline, request_id = %self.row.request_id,
                "the archive of a destroyed server is deleted",
            );
            // The next turn finds nothing left to do.
            return Ok(self.after(noted).await);
        }
        let keys: Vec<String> = listed.into_iter().map(|object| object.key).collect();
        // Of backups that no row knows, the sentinels go first as well.
        let sentinels: BTreeSet<String> =
            keys.iter().filter_map(|key| sentinel_beside(key)).collect();
        let sentinels: Vec<String> = sentinels.into_iter().collect();
        for keys in [&sentinels, &keys] {
            if !self.delete(keys, "destroyed").await? {
                return Ok(Came::Overtaken);
            }
        }
        Ok(Came::PartOfTheWay)
    }
}
