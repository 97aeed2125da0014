//! The chain of WAL objects of one epoch: where the next ones go, how far they reach, and which
//! segments are to be put together. Pure: no I/O, no clock.
//!
//! An object begins where the one before ends and never crosses the end of a segment. Only its
//! start is in its name: two writers of one chain therefore meet at the same name, and the second
//! takes the end of what it finds there. So the watermark is always a joint of the chain, and
//! [`Walk`] finds it again from the objects alone. Objects beyond the watermark whose start is no
//! joint are left overs of a push that was overtaken: no reader ever comes to them.

mod compaction;
mod walk;

pub use compaction::{Compaction, Listing, compacted_after};
pub use walk::{Broken, Walk};

use std::ops::Range;

use crate::agent_api::wal::Placed;
use crate::units::Lsn;

/// Start of the segment that holds `lsn`.
pub fn segment_start(lsn: Lsn, segment_bytes: u32) -> Lsn {
    Lsn::from_bytes(lsn.bytes() - lsn.bytes() % u64::from(segment_bytes.max(1)))
}

/// End of the segment that holds `lsn`: always beyond it.
pub fn segment_end(lsn: Lsn, segment_bytes: u32) -> Lsn {
    let start = segment_start(lsn, segment_bytes);
    Lsn::from_bytes(start.bytes().saturating_add(u64::from(segment_bytes)))
}

/// How WAL is cut into objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Size of a segment in bytes: no object crosses the end of one.
    pub segment_bytes: u32,
    /// Most bytes of one object (≥ 1).
    pub chunk_bytes_max: u64,
    /// Most places of one push (≥ 1).
    pub places_max: usize,
}

/// The places for the next objects, one behind the other, beginning at `watermark`: enough for
/// everything that is known to be flushed and one more, but never more than `cut` allows.
pub fn places(watermark: Lsn, flush: Lsn, cut: &Cut) -> Vec<Range<Lsn>> {
    let mut places = Vec::new();
    let mut start = watermark;
    while places.len() < cut.places_max.max(1) {
        let most = start.bytes().saturating_add(cut.chunk_bytes_max.max(1));
        let end = segment_end(start, cut.segment_bytes).min(Lsn::from_bytes(most));
        places.push(start..end);
        if start >= flush {
            break;
        }
        start = end;
    }
    places
}

/// How far a push came, and what stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advanced {
    /// Everything up to here is stored, without a hole.
    pub watermark: Lsn,
    /// Where the last object begins that this push came over; null if it came over none.
    pub last: Option<Lsn>,
    /// What is at the watermark.
    pub stop: Stop,
}

/// Why a push went no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// There was nothing more to push, or no further place for it.
    End,
    /// The archive has something else there.
    Conflict(String),
    /// PostgreSQL has removed what belongs there.
    Missing,
    /// It did not work this time.
    Failed(String),
    /// It was not finished in time.
    Unfinished,
    /// The agent's answer cannot be: it says that an object ends here.
    Impossible(Lsn),
}

/// Follows the chain from `watermark` over what became of `places`, in order.
///
/// An object that was adopted may end elsewhere than its place; the next place is then no joint of
/// the chain, and the next push begins there.
pub fn advance(
    watermark: Lsn,
    segment_bytes: u32,
    places: &[Range<Lsn>],
    outcomes: &[Placed],
) -> Advanced {
    let (mut reached, mut last) = (watermark, None);
    let mut stop = Stop::End;
    for (place, outcome) in places.iter().zip(outcomes) {
        if place.start != reached {
            break;
        }
        let (end, most) = match outcome {
            Placed::Stored { end, .. } => (*end, place.end),
            Placed::Adopted { end } => (*end, segment_end(reached, segment_bytes)),
            Placed::Conflict { detail } => {
                stop = Stop::Conflict(detail.clone());
                break;
            }
            Placed::Missing => {
                stop = Stop::Missing;
                break;
            }
            Placed::Failed { detail } => {
                stop = Stop::Failed(detail.clone());
                break;
            }
            Placed::Unfinished => {
                stop = Stop::Unfinished;
                break;
            }
        };
        if end <= reached || end > most {
            stop = Stop::Impossible(end);
            break;
        }
        last = Some(reached);
        reached = end;
    }
    Advanced {
        watermark: reached,
        last,
        stop,
    }
}

#[cfg(test)]
mod tests;
