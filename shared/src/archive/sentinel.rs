//! The sentinel of a base backup: an object that is written once, last of all. Without it there is
//! no backup, whatever else is there.
//!
//! It is plain JSON, so that people find a backup by hand, and has what the control database knows
//! of it. Whoever writes it has seen the manifest and every piece that this names.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::frame::{self, Content, FrameError};
use super::layout::{Prefix, Run};
use super::manifest::Manifest;
use super::store::{Listed, ObjectStore, StoreError};
use crate::ids::{BackupId, ParticipantId, TimelineId};
use crate::units::Lsn;

/// A base backup that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentinel {
    /// The backup.
    pub backup: BackupId,
    /// Timeline it is of.
    pub timeline: TimelineId,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
    /// Epoch and `tli` it was taken on.
    pub run: Run,
    /// Replay begins here.
    pub start_lsn: Lsn,
    /// It is consistent from here on.
    pub stop_lsn: Lsn,
    /// Moment it began, by the clock of its server.
    pub started_at: DateTime<Utc>,
    /// First moment that can be restored from it, by the clock of the leader: when it was complete,
    /// or the last commit that is in one that was taken from a follower.
    pub stopped_at: DateTime<Utc>,
    /// Bytes of the files.
    pub plain_bytes: u64,
    /// Bytes of the objects.
    pub stored_bytes: u64,
    /// Number of pieces.
    pub pieces: u32,
    /// Pages whose checksum was wrong, counted up to the hundred that the manifest names.
    pub damaged_pages: u64,
    /// The follower that it was taken from; null if it was the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follower: Option<ParticipantId>,
}

/// What is in the archive is no complete backup.
#[derive(Debug, thiserror::Error)]
pub enum Incomplete {
    /// The manifest is damaged.
    #[error("the manifest of the backup is damaged")]
    Frame(#[from] FrameError),
    /// The manifest cannot be read.
    #[error("the manifest of the backup cannot be read")]
    Manifest(#[from] serde_json::Error),
    /// The manifest is about something else.
    #[error("the manifest of the backup is of another {0}")]
    Other(&'static str),
    /// A piece is not there.
    #[error("piece {0} of the backup is not in the archive")]
    Piece(u32),
}

/// A sentinel that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The archive does not say now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is there is no sentinel.
    #[error("the sentinel of backup {0} cannot be read")]
    Malformed(BackupId, #[source] serde_json::Error),
    /// What is there is about something else.
    #[error("the sentinel of backup {0} is of another backup")]
    Other(BackupId),
}

impl Sentinel {
    /// Reads the sentinel of `backup`; null if there is none: then there is no backup, whatever a
    /// row says. Whoever plans a restore asks this first: a control database that was put back to an
    /// older copy has rows of backups that were deleted since.
    ///
    /// # Errors
    /// [`Unread`] if it is not known whether there is one, or if it is not of this backup.
    pub async fn find(
        store: &dyn ObjectStore,
        prefix: Prefix,
        backup: BackupId,
    ) -> Result<Option<Self>, Unread> {
        let Some(json) = store.get(&prefix.backup_sentinel(backup), None).await? else {
            return Ok(None);
        };
        let found: Self =
            serde_json::from_slice(&json).map_err(|error| Unread::Malformed(backup, error))?;
        let is_of = found.backup == backup
            && found.timeline == prefix.timeline
            && found.system_identifier == prefix.system_identifier;
        is_of.then_some(Some(found)).ok_or(Unread::Other(backup))
    }

    /// The sentinel of `backup` of a leader, whose `manifest` was read as an object and whose pieces
    /// are in `listed`, the complete list of its objects.
    ///
    /// # Errors
    /// [`Incomplete`] if anything is missing or is not about this backup.
    pub fn of(
        (prefix, run, backup): (Prefix, Run, BackupId),
        manifest: &[u8],
        listed: &[Listed],
    ) -> Result<Self, Incomplete> {
        let (metadata, json) = frame::decode(manifest)?;
        let manifest: Manifest = serde_json::from_slice(&json)?;
        let labelled = metadata.content == Content::BackupManifest { backup };
        let checks = [
            ("backup", labelled && manifest.backup == backup),
            ("timeline", manifest.timeline == prefix.timeline),
            (
                "cluster",
                manifest.system_identifier == prefix.system_identifier,
            ),
            ("epoch", manifest.run == run),
        ];
        if let Some((what, _)) = checks.iter().find(|(_, same)| !same) {
            return Err(Incomplete::Other(what));
        }
        let sizes: BTreeMap<&str, u64> = listed
            .iter()
            .map(|object| (object.key.as_str(), object.bytes))
            .collect();
        let key = prefix.backup_manifest(backup);
        let mut stored_bytes = sizes.get(key.as_str()).copied().unwrap_or_default();
        let mut pieces = 0;
        for number in manifest.parts.iter().flat_map(|part| &part.pieces) {
            let key = prefix.backup_piece(backup, *number);
            let bytes = sizes.get(key.as_str());
            stored_bytes += bytes.ok_or(Incomplete::Piece(*number))?;
            pieces += 1;
        }
        Ok(Self {
            backup,
            timeline: manifest.timeline,
            system_identifier: manifest.system_identifier,
            run,
            start_lsn: manifest.start_lsn,
            stop_lsn: manifest.stop_lsn,
            started_at: manifest.started_at,
            stopped_at: manifest.stopped_at,
            plain_bytes: manifest.bytes(),
            stored_bytes,
            pieces,
            damaged_pages: u64::try_from(manifest.damaged_pages.len()).unwrap_or(u64::MAX),
            follower: None,
        })
    }

    /// The object.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a sentinel is plain data and serialises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::{File, Part};
    use crate::archive::store::MemoryStore;

    const PREFIX: Prefix = Prefix {
        timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
        system_identifier: 7_300_000_000_000_000_001,
    };
    const RUN: Run = Run { epoch: 1, tli: 1 };
    const BACKUP: BackupId = BackupId::from_uuid(uuid::Uuid::from_u128(2));

    fn manifest() -> Manifest {
        let part = |pieces: &[u32]| Part {
            pieces: pieces.to_vec(),
            bytes: 4096,
            files: vec![File {
                path: format!("base/{}", pieces.len()),
                bytes: 1000,
            }],
        };
        Manifest {
            backup: BACKUP,
            timeline: PREFIX.timeline,
            system_identifier: PREFIX.system_identifier,
            run: RUN,
            start_lsn: Lsn::from_bytes(100),
            stop_lsn: Lsn::from_bytes(200),
            started_at: DateTime::UNIX_EPOCH,
            stopped_at: DateTime::UNIX_EPOCH,
            postgres_version: "15.18".to_owned(),
            wal_segment_bytes: 16 << 20,
            backup_label: String::new(),
            directories: Vec::new(),
            parts: vec![part(&[1, 3]), part(&[2])],
            damaged_pages: Vec::new(),
        }
    }

    fn object(manifest: &Manifest) -> Vec<u8> {
        let label = frame::Label {
            timeline: manifest.timeline,
            system_identifier: manifest.system_identifier,
            content: Content::BackupManifest { backup: BACKUP },
        };
        frame::encode(&label, &serde_json::to_vec(manifest).unwrap(), 1).unwrap()
    }

    fn listed(numbers: &[u32]) -> Vec<Listed> {
        let pieces = numbers.iter().map(|number| Listed {
            key: PREFIX.backup_piece(BACKUP, *number),
            bytes: 10,
        });
        let manifest = Listed {
            key: PREFIX.backup_manifest(BACKUP),
            bytes: 5,
        };
        pieces.chain([manifest]).collect()
    }

    fn of(manifest: &Manifest, numbers: &[u32]) -> Result<Sentinel, Incomplete> {
        Sentinel::of((PREFIX, RUN, BACKUP), &object(manifest), &listed(numbers))
    }

    #[test]
    fn a_complete_backup_is_counted_without_what_is_not_its_own() {
        let sentinel = of(&manifest(), &[1, 2, 3, 4]).unwrap();
        assert_eq!((sentinel.pieces, sentinel.plain_bytes), (3, 2000));
        assert_eq!(sentinel.stored_bytes, 35);
        let read: Sentinel = serde_json::from_slice(&sentinel.to_json()).unwrap();
        assert_eq!(read, sentinel);
    }

    #[test]
    fn only_a_sentinel_of_a_follower_names_it() {
        let of_leader = of(&manifest(), &[1, 2, 3]).unwrap();
        let text = String::from_utf8(of_leader.to_json()).unwrap();
        assert!(!text.contains("follower"), "who is older writes the same");
        let of_follower = Sentinel {
            follower: Some(ParticipantId::new()),
            ..of_leader
        };
        let read: Sentinel = serde_json::from_slice(&of_follower.to_json()).unwrap();
        assert_eq!(read, of_follower);
    }

    #[test]
    fn a_missing_piece_is_named() {
        let error = of(&manifest(), &[1, 2]).unwrap_err();
        assert!(matches!(error, Incomplete::Piece(3)), "{error}");
    }

    #[test]
    fn the_manifest_of_another_epoch_or_a_damaged_one_is_refused() {
        let mut other = manifest();
        other.run.epoch = 2;
        let error = of(&other, &[1, 2, 3]).unwrap_err();
        assert!(matches!(error, Incomplete::Other("epoch")), "{error}");
        let mut damaged = object(&manifest());
        let last = damaged.len() - 5;
        damaged[last] ^= 0x40;
        let key = (PREFIX, RUN, BACKUP);
        let error = Sentinel::of(key, &damaged, &listed(&[1, 2, 3])).unwrap_err();
        assert!(matches!(error, Incomplete::Frame(_)), "{error}");
    }

    #[tokio::test]
    async fn a_backup_without_a_sentinel_is_none_whatever_a_row_says() {
        let store = MemoryStore::default();
        let find = async |prefix| Sentinel::find(&store, prefix, BACKUP).await;
        assert_eq!(find(PREFIX).await.unwrap(), None);
        let sentinel = of(&manifest(), &[1, 2, 3]).unwrap();
        let key = PREFIX.backup_sentinel(BACKUP);
        store.put(&key, sentinel.to_json().into()).await.unwrap();
        assert_eq!(find(PREFIX).await.unwrap(), Some(sentinel.clone()));
        store.fail_next(1);
        assert!(matches!(find(PREFIX).await, Err(Unread::Store(_))));

        let other = Prefix {
            system_identifier: 1,
            ..PREFIX
        };
        let key = other.backup_sentinel(BACKUP);
        store.put(&key, sentinel.to_json().into()).await.unwrap();
        assert!(matches!(find(other).await, Err(Unread::Other(_))));
        store.delete(std::slice::from_ref(&key)).await.unwrap();
        store.put(&key, "nothing".into()).await.unwrap();
        assert!(matches!(find(other).await, Err(Unread::Malformed(..))));
    }
}
