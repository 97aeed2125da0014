//! Deleting a backup: the sentinel first, the row last.

use shared::db::archive::{KeptBackup, begin_deletion, forget_backup};

use super::{Came, Expiring};
use crate::ring::TurnError;

impl Expiring<'_> {
    /// Deletes some of the objects of a marked backup, or its row if none is left.
    pub(super) async fn delete_backup(&self, backup: &KeptBackup) -> Result<Came, TurnError> {
        if backup.marked_at.is_some() {
            let (pool, now) = (&self.context.pool, self.context.now());
            let begun = begin_deletion(pool, backup.id, now).await?;
            tracing::info!(
                timeline.id = %self.row.timeline, backup.id = %backup.id,
                request_id = %self.row.request_id, "a backup is deleted",
            );
            return Ok(self.after(begun).await);
        }
        let all = backup.prefix.backup(backup.id);
        let listed = self.first_of(&all).await?;
        if listed.is_empty() {
            let forgotten = forget_backup(&self.context.pool, backup.id).await?;
            return Ok(self.after(forgotten).await);
        }
        // Alone, and before anything else: also when this is not the first time.
        let before = [
            backup.prefix.backup_sentinel(backup.id),
            backup.prefix.backup_manifest(backup.id),
        ];
        for key in &before {
            if !self.delete(std::slice::from_ref(key), "backup").await? {
                return Ok(Came::Overtaken);
            }
        }
        let keys: Vec<String> = listed
            .into_iter()
            .map(|object| object.key)
            .filter(|key| !before.contains(key))
            .collect();
        if !self.delete(&keys, "backup").await? {
            return Ok(Came::Overtaken);
        }
        Ok(Came::PartOfTheWay)
    }
}
