//! Which segments went up in more than one object and are to be put together.
//!
//! Who deletes chunks deletes only those of segments that are there as one object: a segment that
//! went up as one chunk, or that was lost before it was put together, keeps its chunks.

use std::ops::Range;

use super::segment_end;
use crate::agent_api::wal::Placed;
use crate::units::Lsn;

/// Chunks that the archive lists from the first segment that was not looked at yet.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// Where they begin, in order.
    pub starts: &'a [Lsn],
    /// Whether there may be more behind the last one.
    pub is_cut_off: bool,
}

/// Segments in order, and for each whether it is to be put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compaction {
    steps: Vec<(Range<Lsn>, bool)>,
}

impl Compaction {
    /// Whether a whole segment lies between `compacted` and `watermark`: only then is there
    /// anything to be listed.
    pub fn is_due(compacted: Lsn, watermark: Lsn, segment_bytes: u32) -> bool {
        segment_end(compacted, segment_bytes) <= watermark
    }

    /// Looks at the segments from `compacted` on that lie below `watermark`, until `most` of them
    /// are to be put together or the listing ends.
    pub fn of(
        compacted: Lsn,
        watermark: Lsn,
        segment_bytes: u32,
        listing: Listing<'_>,
        most: usize,
    ) -> Self {
        let mut steps = Vec::new();
        let mut found = 0;
        let mut start = compacted;
        let last = listing.starts.last().copied();
        while Self::is_due(start, watermark, segment_bytes) {
            let end = segment_end(start, segment_bytes);
            let chunks = listing
                .starts
                .iter()
                .filter(|at| (start..end).contains(*at))
                .count();
            let unseen = listing.is_cut_off && last.is_none_or(|last| last < end);
            if chunks < 2 && unseen {
                break;
            }
            // None at all should not be: the whole segment then closes the hole.
            let apart = chunks != 1;
            if apart && found == most {
                break;
            }
            found += usize::from(apart);
            steps.push((start..end, apart));
            start = end;
        }
        Self { steps }
    }

    /// Takes every segment below `watermark` for one that will never be put together: of clusters
    /// whose segments are larger than an object may be.
    pub fn never(compacted: Lsn, watermark: Lsn, segment_bytes: u32) -> Self {
        let (mut steps, mut start) = (Vec::new(), compacted);
        while Self::is_due(start, watermark, segment_bytes) {
            let end = segment_end(start, segment_bytes);
            steps.push((start..end, false));
            start = end;
        }
        Self { steps }
    }

    /// The segments to be put together, in order.
    pub fn segments(&self) -> impl Iterator<Item = &Range<Lsn>> {
        let apart = self.steps.iter().filter(|(_, apart)| *apart);
        apart.map(|(segment, _)| segment)
    }
}

/// How far all segments are one object each – or will never be – after `outcomes` of the segments
/// that were to be put together.
pub fn compacted_after(compacted: Lsn, compaction: &Compaction, outcomes: &[Placed]) -> Lsn {
    let mut outcomes = outcomes.iter();
    let mut reached = compacted;
    for (segment, apart) in &compaction.steps {
        let done = !apart
            || match outcomes.next() {
                Some(Placed::Stored { end, .. } | Placed::Adopted { end }) => *end == segment.end,
                // It is gone at the leader; its chunks stay.
                Some(Placed::Missing) => true,
                Some(Placed::Conflict { .. } | Placed::Failed { .. } | Placed::Unfinished)
                | None => false,
            };
        if !done {
            break;
        }
        reached = segment.end;
    }
    reached
}
