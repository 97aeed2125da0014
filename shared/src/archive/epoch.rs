//! The record of an epoch: an object that is written once, so that what belongs together can be
//! told from the archive alone.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::layout::{Prefix, Run};
use crate::ids::{ParticipantId, TimelineId};
use crate::units::Lsn;

/// One leader's write period on a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Timeline it belongs to.
    pub timeline: TimelineId,
    /// Counts the epochs of a timeline from 1.
    pub number: u32,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
    /// PostgreSQL's timeline number in it (≥ 1).
    pub tli: u32,
    /// Size of a WAL segment in bytes: a power of two, 1 MiB to 1 GiB.
    pub segment_bytes: u32,
    /// First position in the archive: the start of a segment.
    pub start: Lsn,
    /// The leader.
    pub participant: ParticipantId,
    /// Generation of the leader when it began.
    pub generation: u64,
    /// Where it comes from; null for the first.
    pub parent: Option<Parent>,
    /// Moment it was written down.
    pub created_at: DateTime<Utc>,
}

/// The epoch that another one went on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its timeline: another one for the first epoch of a fork.
    pub timeline: TimelineId,
    /// Its number.
    pub epoch: u32,
    /// What it has beyond this position is not part of the history.
    pub cut: Lsn,
}

/// A stored record that is not about the epoch it should be about.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive has another epoch {number} of timeline {timeline}: its {what} differs")]
pub struct OtherEpoch {
    timeline: TimelineId,
    number: u32,
    what: &'static str,
}

impl EpochRecord {
    /// Where everything of its timeline and cluster is.
    pub fn prefix(&self) -> Prefix {
        Prefix {
            timeline: self.timeline,
            system_identifier: self.system_identifier,
        }
    }

    /// What its WAL is filed under.
    pub fn run(&self) -> Run {
        Run {
            epoch: self.number,
            tli: self.tli,
        }
    }

    /// The object.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a record is plain data and serialises")
    }

    /// Takes `stored`, which was there first, if it is about the same write period of the same
    /// leader. Its start and generation may be older: whoever wrote it died before it was recorded.
    ///
    /// # Errors
    /// [`OtherEpoch`] names the first field that cannot differ and does.
    pub fn adopt(&self, stored: Self) -> Result<Self, OtherEpoch> {
        let checks = [
            ("timeline", self.timeline == stored.timeline),
            ("number", self.number == stored.number),
            (
                "system identifier",
                self.system_identifier == stored.system_identifier,
            ),
            ("tli", self.tli == stored.tli),
            (
                "size of segments",
                self.segment_bytes == stored.segment_bytes,
            ),
            ("leader", self.participant == stored.participant),
            ("parent", self.parent == stored.parent),
            ("start", stored.start <= self.start),
            ("generation", stored.generation <= self.generation),
        ];
        match checks.into_iter().find(|(_, same)| !same) {
            None => Ok(stored),
            Some((what, _)) => Err(OtherEpoch {
                timeline: self.timeline,
                number: self.number,
                what,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> EpochRecord {
        EpochRecord {
            timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
            number: 1,
            system_identifier: 7_300_000_000_000_000_001,
            tli: 1,
            segment_bytes: 16 << 20,
            start: Lsn::from_bytes(32 << 20),
            participant: ParticipantId::from_uuid(uuid::Uuid::from_u128(2)),
            generation: 5,
            parent: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let read: EpochRecord = serde_json::from_slice(&record().to_json()).unwrap();
        assert_eq!(read, record());
    }

    #[test]
    fn an_older_record_of_the_same_period_is_taken() {
        let mut older = record();
        older.start = Lsn::from_bytes(16 << 20);
        older.generation = 3;
        assert_eq!(record().adopt(older.clone()), Ok(older));
    }

    #[test]
    fn the_record_of_another_period_is_refused() {
        let leader = EpochRecord {
            participant: ParticipantId::from_uuid(uuid::Uuid::from_u128(3)),
            ..record()
        };
        assert_eq!(record().adopt(leader).unwrap_err().what, "leader");
        let later = EpochRecord {
            start: Lsn::from_bytes(48 << 20),
            ..record()
        };
        assert_eq!(record().adopt(later).unwrap_err().what, "start");
    }
}
