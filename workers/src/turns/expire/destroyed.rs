//! The end of the archive of a timeline that was destroyed.

use std::collections::BTreeSet;

use shared::db::archive::{KeptBackup, note_archive_deleted};
use shared::domain::BackupState;

use super::{Came, Expiring};
use crate::ring::TurnError;

/// How the name of a sentinel ends.
const SENTINEL: &str = "backup.json";

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
        let listed = self.first_of(&format!("timelines/{timeline}/")).await?;
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
        let sentinels: BTreeSet<String> = keys.iter().filter_map(|key| sentinel(key)).collect();
        let sentinels: Vec<String> = sentinels.into_iter().collect();
        for keys in [&sentinels, &keys] {
            if !self.delete(keys, "destroyed").await? {
                return Ok(Came::Overtaken);
            }
        }
        Ok(Came::PartOfTheWay)
    }
}

/// The sentinel of the backup that an object belongs to; null if it belongs to none.
fn sentinel(key: &str) -> Option<String> {
    let (directory, _) = key.rsplit_once('/')?;
    let (above, _) = directory.rsplit_once('/')?;
    above
        .ends_with("/backups")
        .then(|| format!("{directory}/{SENTINEL}"))
}

#[cfg(test)]
mod tests {
    use shared::archive::layout::{Prefix, Run};
    use shared::ids::{BackupId, TimelineId};
    use shared::units::Lsn;

    use super::*;

    #[test]
    fn the_sentinel_of_an_object_is_found_from_its_name() {
        let prefix = Prefix {
            timeline: TimelineId::new(),
            system_identifier: 1,
        };
        let backup = BackupId::new();
        let expected = Some(prefix.backup_sentinel(backup));
        for key in [
            prefix.backup_piece(backup, 7),
            prefix.backup_manifest(backup),
            prefix.backup_sentinel(backup),
        ] {
            assert_eq!(sentinel(&key), expected, "{key}");
        }
        let run = Run { epoch: 1, tli: 1 };
        assert_eq!(sentinel(&prefix.chunk(run, Lsn::from_bytes(1))), None);
        assert_eq!(sentinel(&prefix.epoch(1)), None);
    }
}
