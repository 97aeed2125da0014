//! Which moments can be restored, from what is known of a timeline's backups and WAL. Pure: no I/O,
//! no clock.
//!
//! A restore begins at a base backup and replays WAL without a hole along one history: an epoch, up
//! to the cut the one before it, and so on. So there is one window for each stretch of WAL without a
//! hole: from where its first backup is consistent to the end of the stretch.

use chrono::{DateTime, Utc};

use super::epoch::Parent;
use crate::units::Lsn;

/// An epoch, and what the archive has of its WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its number.
    pub number: u32,
    /// Where it comes from; null for the first.
    pub parent: Option<Parent>,
    /// WAL before this position is not kept.
    pub kept_from: Lsn,
    /// Everything from there up to here is in the archive, but for the holes.
    pub watermark: Lsn,
    /// Moment before which everything that was committed is below the watermark, by the clock of the
    /// leader; null where that is not known.
    pub complete_until: Option<DateTime<Utc>>,
    /// WAL that is missing, in order.
    pub holes: Vec<Hole>,
}

/// WAL that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// First position that is missing.
    pub from: Lsn,
    /// First position after it that is there: the start of a segment.
    pub to: Lsn,
    /// Moment before which everything that was committed is before it, by the clock of the leader;
    /// null where that is not known.
    pub reached_at: Option<DateTime<Utc>>,
}

/// A backup that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Number of the epoch it was made in.
    pub epoch: u32,
    /// Replay begins here.
    pub start: Lsn,
    /// It is consistent from here on.
    pub stop: Lsn,
    /// Moment it was, by the clock of its server.
    pub stopped_at: DateTime<Utc>,
}

/// Everything that can be restored without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First position that can be a target.
    pub from: Lsn,
    /// Its moment.
    pub from_at: DateTime<Utc>,
    /// Last position: what is committed up to here is there.
    pub to: Lsn,
    /// Moment before which everything that was committed is in it, by the clock of the server; null
    /// where that is not known. Nothing was written since if the timeline is not behind.
    pub to_at: Option<DateTime<Utc>>,
}

/// WAL without a hole.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: Lsn,
    to: Lsn,
    to_at: Option<DateTime<Utc>>,
}

/// What can be restored along the history that the newest of `epochs` is the end of, oldest first:
/// one window for each stretch of WAL that holds one of `bases`.
pub fn windows(epochs: &[Span], bases: &[Base]) -> Vec<Window> {
    let history = history(epochs);
    let mut stretches: Vec<Stretch> = Vec::new();
    for (span, end) in &history {
        // What an epoch repeats of its parent, from the start of a segment to the cut, is the same.
        let mut begins = true;
        for stretch in stretches_of(span, *end) {
            match stretches.last_mut() {
                Some(last) if begins && stretch.from <= last.to => {
                    last.to = last.to.max(stretch.to);
                    last.to_at = stretch.to_at;
                }
                Some(_) | None => stretches.push(stretch),
            }
            begins = false;
        }
    }
    let is_of_this_history = |base: &&Base| {
        let mut on = history.iter();
        on.any(|(span, end)| span.number == base.epoch && base.stop <= *end)
    };
    let bases: Vec<&Base> = bases.iter().filter(is_of_this_history).collect();
    let window = |stretch: &Stretch| {
        let within = |base: &&&Base| base.start >= stretch.from && base.stop <= stretch.to;
        let first = bases.iter().filter(within).min_by_key(|base| base.stop)?;
        Some(Window {
            from: first.stop,
            from_at: first.stopped_at,
            to: stretch.to,
            // Known of what was there before the backup, it says nothing of this window.
            to_at: stretch.to_at.filter(|at| *at >= first.stopped_at),
        })
    };
    stretches.iter().filter_map(window).collect()
}

/// The epochs that lead to the newest one, oldest first, each with the position at which the next
/// one left it.
fn history(epochs: &[Span]) -> Vec<(&Span, Lsn)> {
    let mut history = Vec::new();
    let mut next = epochs.iter().max_by_key(|span| span.number);
    let mut end = Lsn::from_bytes(u64::MAX);
    while let Some(span) = next {
        history.push((span, end));
        // Parents have smaller numbers, so this ends.
        let parent = span.parent.filter(|parent| parent.epoch < span.number);
        end = parent.map_or(end, |parent| parent.cut.min(end));
        next = parent.and_then(|parent| epochs.iter().find(|span| span.number == parent.epoch));
    }
    history.reverse();
    history
}

/// What the archive has of `span` before `end`, in order.
fn stretches_of(span: &Span, end: Lsn) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut from = span.kept_from;
    let mut add = |from: Lsn, to: Lsn, to_at| {
        let to = to.min(end);
        if from < to {
            stretches.push(Stretch { from, to, to_at });
        }
    };
    for hole in &span.holes {
        add(from, hole.from, hole.reached_at);
        from = from.max(hole.to);
    }
    add(from, span.watermark, span.complete_until);
    stretches
}

#[cfg(test)]
mod tests;
