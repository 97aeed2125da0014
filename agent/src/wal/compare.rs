//! What is already in a place: ours, or a conflict.

use std::ops::Range;

use shared::archive::frame::{self, Content, FrameError, Metadata};
use shared::archive::layout::Run;
use shared::ids::TimelineId;
use shared::units::Lsn;

/// What an object in a place must be about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) timeline: TimelineId,
    pub(super) system_identifier: u64,
    pub(super) run: Run,
    pub(super) start: Lsn,
    /// The end of the segment that it begins in.
    pub(super) segment_end: Lsn,
    /// Whether it must reach that end.
    pub(super) whole: bool,
}

impl Expected {
    /// Reads an object, and finds the range of WAL that it holds.
    ///
    /// # Errors
    /// [`FrameError`] if it is damaged, or in `Ok` why it is about something else.
    pub(super) fn open(&self, object: &[u8]) -> Result<Result<Found, String>, FrameError> {
        let (metadata, content) = frame::decode(object)?;
        Ok(self.end_of(&metadata).map(|end| Found {
            range: self.start..end,
            content,
        }))
    }

    fn end_of(&self, metadata: &Metadata) -> Result<Lsn, String> {
        let Content::Wal {
            epoch,
            tli,
            start,
            end,
        } = metadata.content
        else {
            return Err("the object that is there is no WAL".to_owned());
        };
        let same = metadata.timeline == self.timeline
            && metadata.system_identifier == self.system_identifier
            && Run { epoch, tli } == self.run
            && start == self.start;
        if !same {
            return Err(format!(
                "the object that is there is of timeline {}, cluster {}, epoch {epoch}, tli {tli}, \
                 from {start}",
                metadata.timeline, metadata.system_identifier
            ));
        }
        let is_good = start < end && end <= self.segment_end;
        if !is_good || (self.whole && end != self.segment_end) {
            return Err(format!("the object that is there ends at {end}"));
        }
        Ok(end)
    }
}

/// WAL that is in the archive.
#[derive(Debug)]
pub(super) struct Found {
    /// From where to where.
    pub(super) range: Range<Lsn>,
    /// The bytes.
    pub(super) content: Vec<u8>,
}

impl Found {
    /// Finds the first byte that is not the same in `ours`, which is of the same range.
    pub(super) fn difference(&self, ours: &[u8]) -> Option<Lsn> {
        if self.content == ours {
            return None;
        }
        let mut pairs = self.content.iter().zip(ours);
        let same = pairs.position(|(theirs, ours)| theirs != ours);
        let same = same.unwrap_or_else(|| self.content.len().min(ours.len()));
        let same = u64::try_from(same).unwrap_or(u64::MAX);
        Some(Lsn::from_bytes(
            self.range.start.bytes().saturating_add(same),
        ))
    }
}

#[cfg(test)]
mod tests {
    use shared::archive::frame::Label;

    use super::*;

    const EXPECTED: Expected = Expected {
        timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
        system_identifier: 7,
        run: Run { epoch: 2, tli: 1 },
        start: Lsn::from_bytes(100),
        segment_end: Lsn::from_bytes(200),
        whole: false,
    };

    fn label() -> Label {
        Label {
            timeline: EXPECTED.timeline,
            system_identifier: 7,
            content: wal(2, 100, 150),
        }
    }

    fn wal(epoch: u32, start: u64, end: u64) -> Content {
        Content::Wal {
            epoch,
            tli: 1,
            start: Lsn::from_bytes(start),
            end: Lsn::from_bytes(end),
        }
    }

    fn open(label: &Label) -> Result<Found, String> {
        let length = match label.content {
            Content::Wal { start, end, .. } => usize::try_from(end.bytes() - start.bytes()),
            _ => Ok(3),
        };
        let object = frame::encode(label, &vec![9; length.unwrap()], 1).unwrap();
        EXPECTED.open(&object).unwrap()
    }

    #[test]
    fn an_object_of_ours_is_recognised() {
        let found = open(&label()).unwrap();
        assert_eq!(found.range, EXPECTED.start..Lsn::from_bytes(150));
        assert_eq!(found.difference(&[9; 50]), None);
        let mut ours = [9; 50];
        ours[7] = 8;
        assert_eq!(found.difference(&ours), Some(Lsn::from_bytes(107)));
        assert_eq!(found.difference(&[9; 40]), Some(Lsn::from_bytes(140)));
    }

    #[test]
    fn an_object_about_something_else_is_a_conflict() {
        let strange = |change: fn(&mut Label)| {
            let mut label = label();
            change(&mut label);
            open(&label).unwrap_err()
        };
        assert!(strange(|label| label.system_identifier = 8).contains("cluster 8"));
        assert!(strange(|label| label.timeline = TimelineId::new()).contains("timeline"));
        assert!(strange(|label| label.content = wal(3, 100, 150)).contains("epoch 3"));
        assert!(strange(|label| label.content = wal(2, 99, 150)).contains("from 0/63"));
        assert!(strange(|label| label.content = wal(2, 100, 100)).contains("ends at 0/64"));
        assert!(strange(|label| label.content = wal(2, 100, 201)).contains("ends at 0/C9"));
        let backup = |label: &mut Label| {
            label.content = Content::BackupManifest {
                backup: shared::ids::BackupId::new(),
            };
        };
        assert!(strange(backup).contains("no WAL"));
    }

    #[test]
    fn a_segment_must_be_whole() {
        let object = frame::encode(&label(), &[9; 50], 1).unwrap();
        let expected = Expected {
            whole: true,
            ..EXPECTED
        };
        assert!(expected.open(&object).unwrap().is_err());
    }
}
