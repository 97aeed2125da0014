//! The way of a restore through the archive: which leg a segment is read from, and what PostgreSQL's
//! history files say. Pure.
//!
//! PostgreSQL asks for one segment of several `tli`, the newest first. An epoch begins at the start
//! of the segment that holds the cut of its parent, with the parent's bytes before it: so each
//! segment is on one leg as a whole, and the bytes of a leg behind its end are never read.

use std::fmt::Write as _;
use std::ops::Range;

use super::chain::{segment_end, segment_start};
use super::plan::Leg;
use crate::units::Lsn;

/// A way with segments of one size.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// The legs, in order.
    pub path: &'a [Leg],
    /// Size of a segment in bytes.
    pub segment_bytes: u32,
}

/// A segment on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Number of its leg, from 0.
    pub leg: usize,
    /// Where it begins.
    pub start: Lsn,
}

impl Way<'_> {
    /// The segment of `tli` that begins at `start`; null if that history has none there, which is
    /// then known for sure.
    pub fn segment(&self, tli: u32, start: Lsn) -> Option<Segment> {
        let mut legs = self.path.iter().enumerate().rev();
        let (leg, _) = legs.find(|(number, leg)| {
            leg.run.tli == tli && self.begin(*number) <= start && start < leg.end
        })?;
        (segment_start(start, self.segment_bytes) == start).then_some(Segment { leg, start })
    }

    /// The bytes of a segment that belong to the history: up to its end, or the end of its leg.
    pub fn bytes(&self, segment: Segment) -> Range<Lsn> {
        let end = segment_end(segment.start, self.segment_bytes);
        let leg = self.path.get(segment.leg).map_or(end, |leg| leg.end);
        segment.start..end.min(leg).max(segment.start)
    }

    /// The segment that PostgreSQL asks for after `segment`; null after the last one.
    pub fn next(&self, segment: Segment) -> Option<Segment> {
        let end = segment_end(segment.start, self.segment_bytes);
        (segment.leg..self.path.len()).find_map(|leg| {
            let start = end.max(self.begin(leg));
            // What the next leg has too is read from there.
            let is_last = leg + 1 == self.path.len();
            let until = if is_last {
                self.path.get(leg)?.end
            } else {
                self.begin(leg + 1)
            };
            (start < until).then_some(Segment { leg, start })
        })
    }

    /// Whether the way ends in `segment`, or at its end.
    pub fn is_last(&self, segment: Segment) -> bool {
        self.next(segment).is_none()
    }

    /// PostgreSQL's history file of `tli`; null if it is not on the way, or the first.
    pub fn history(&self, tli: u32) -> Option<String> {
        let mut lines = String::new();
        for (leg, next) in self.path.iter().zip(self.path.iter().skip(1)) {
            if leg.run.tli != next.run.tli {
                let (from, at) = (leg.run.tli, leg.end);
                writeln!(lines, "{from}\t{at}\tleft by the next leader")
                    .expect("a String takes it");
            }
            if next.run.tli == tli {
                return (!lines.is_empty()).then_some(lines);
            }
        }
        None
    }

    /// Where the segments of a leg begin.
    fn begin(&self, leg: usize) -> Lsn {
        let before = leg.checked_sub(1).and_then(|before| self.path.get(before));
        let begin = before.map(|before| segment_start(before.end, self.segment_bytes));
        begin.unwrap_or_default()
    }
}

/// What PostgreSQL calls a file that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// `000000020000000000000003`: the segment of this `tli` that begins here.
    Segment {
        /// PostgreSQL's timeline number.
        tli: u32,
        /// Where it begins.
        start: Lsn,
    },
    /// `00000002.history`.
    History {
        /// PostgreSQL's timeline number.
        tli: u32,
    },
}

impl Asked {
    /// Reads a name; null if it is neither.
    pub fn parse(name: &str, segment_bytes: u32) -> Option<Self> {
        let number = |part: Option<&str>| {
            let part = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            u32::from_str_radix(part, 16).ok()
        };
        if let Some(tli) = name.strip_suffix(".history").filter(|tli| tli.len() == 8) {
            return Some(Self::History {
                tli: number(Some(tli))?,
            });
        }
        if name.len() != 24 {
            return None;
        }
        let (tli, high, low) = (
            number(name.get(..8))?,
            number(name.get(8..16))?,
            number(name.get(16..))?,
        );
        let offset = u64::from(low).checked_mul(segment_bytes.into())?;
        // The lower half counts the segments of 4 GiB.
        (offset < 1 << 32).then_some(Self::Segment {
            tli,
            start: Lsn::from_bytes(u64::from(high) << 32 | offset),
        })
    }
}

#[cfg(test)]
mod tests;
