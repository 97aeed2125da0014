//! The line of a history: the newest epoch and its parents, each up to where the next one left it.

use std::ops::Range;

use super::Leg;
use crate::archive::layout::Run;
use crate::ids::TimelineId;
use crate::units::Lsn;

/// An epoch, and how much of it the archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Timeline it belongs to.
    pub timeline: TimelineId,
    /// Epoch and `tli`.
    pub run: Run,
    /// First position in the archive: the start of a segment.
    pub start: Lsn,
    /// Everything from the start up to here is in the archive, but for gaps.
    pub watermark: Lsn,
    /// What was removed before it was in the archive.
    pub gaps: Vec<Range<Lsn>>,
    /// Timeline and number of the epoch it went on from, and where it left it; null for the first.
    pub parent: Option<(TimelineId, u32, Lsn)>,
}

/// Records of epochs that do not make a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenLine {
    /// An epoch is named and not there.
    #[error("epoch {number} of timeline {timeline} is not known")]
    Absent {
        /// Its timeline.
        timeline: TimelineId,
        /// Its number.
        number: u32,
    },
    /// Parents lead in a circle.
    #[error("epoch {number} of timeline {timeline} comes from itself")]
    Circle {
        /// Its timeline.
        timeline: TimelineId,
        /// Its number.
        number: u32,
    },
}

/// A leg of the line, and what the archive lacks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) leg: Leg,
    /// First position of it in the archive.
    pub(super) begin: Lsn,
    /// What is missing of it for whoever goes on with the next leg, in order.
    pub(super) missing: Vec<Range<Lsn>>,
    /// What is missing of it for whoever ends on it, in order: that too which the next leg has in
    /// the segment that it begins with.
    pub(super) missing_at_end: Vec<Range<Lsn>>,
}

/// The first position from `from` on that is missing; none if nothing is.
pub(super) fn first_missing(missing: &[Range<Lsn>], from: Lsn) -> Option<Lsn> {
    let behind = missing.iter().find(|missing| missing.end > from)?;
    Some(behind.start.max(from))
}

/// The line that ends at the watermark of `tip`.
pub(super) fn line_to(
    epochs: &[Written],
    tip: (TimelineId, u32),
) -> Result<Vec<Stretch>, BrokenLine> {
    let mut line: Vec<Stretch> = Vec::new();
    let mut next = Some((tip, None));
    // The start of the epoch that was looked at before: the next one of the line.
    let mut child_start = None;
    while let Some(((timeline, number), cut)) = next {
        let epoch = epochs
            .iter()
            .find(|epoch| (epoch.timeline, epoch.run.epoch) == (timeline, number))
            .ok_or(BrokenLine::Absent { timeline, number })?;
        if line.len() >= epochs.len() {
            return Err(BrokenLine::Circle { timeline, number });
        }
        line.push(stretch(epoch, cut, child_start));
        child_start = Some(epoch.start);
        next = epoch
            .parent
            .map(|(timeline, number, cut)| ((timeline, number), Some(cut)));
    }
    line.reverse();
    Ok(line)
}

fn stretch(epoch: &Written, cut: Option<Lsn>, child_start: Option<Lsn>) -> Stretch {
    let end = cut.unwrap_or(epoch.watermark);
    let missing_up_to = |needed: Lsn| {
        let gaps = epoch.gaps.iter().cloned().chain([epoch.watermark..end]);
        let gaps = gaps.map(|gap| gap.start..gap.end.min(needed));
        let mut missing: Vec<Range<Lsn>> = gaps.filter(|gap| gap.start < gap.end).collect();
        missing.sort_by_key(|gap| gap.start);
        missing
    };
    Stretch {
        leg: Leg {
            timeline: epoch.timeline,
            run: epoch.run,
            end,
        },
        begin: epoch.start,
        missing: missing_up_to(child_start.map_or(end, |start| start.min(end))),
        missing_at_end: missing_up_to(end),
    }
}
