//! Planning a restore: from which backup, along which way, and whether the target can be reached at
//! all. Pure: no I/O, no clock.
//!
//! ```text
//!  epoch 1  ───────────┬╌╌╌╌  (written past the cut, and never read)
//!                      └── epoch 2  ──────┬╌╌
//!                                         └── epoch 3  ────▶ watermark
//!           ▲ backup              ▲ target
//!           └──────── the way ────┘
//! ```
//!
//! The living history is one line: from the newest epoch back over its parents, each followed up to
//! where the next one left it. A backup serves a target if it was complete before the target and no
//! WAL is missing in between. Targets that none serves are refused with the windows that can be
//! restored, never rounded to one that can.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::layout::Run;
use crate::ids::{BackupId, TimelineId};
use crate::units::Lsn;

mod line;

pub use line::{BrokenLine, Written};
use line::{first_missing, line_to};

/// Where recovery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Target {
    /// At the last record that the way has whole.
    End,
    /// As `recovery_target_lsn` when it is inclusive: with everything before this position and the
    /// first record that begins at or after it. The end of the last leg is reached by everything up
    /// to there.
    Lsn {
        /// The position.
        lsn: Lsn,
    },
    /// With every transaction that was committed at or before this moment, by the clock of the
    /// leader.
    Time {
        /// The moment; PostgreSQL's clock has microseconds.
        at: DateTime<Utc>,
    },
}

/// One run on the way, and how far it is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// Timeline whose archive has it: a fork begins with legs of its parent.
    pub timeline: TimelineId,
    /// Epoch and `tli`.
    pub run: Run,
    /// Where the next leg left it (its cut), or up to where the archive is followed. What the
    /// archive has beyond is not part of this history.
    pub end: Lsn,
}

/// A finished backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The backup.
    pub backup: BackupId,
    /// Timeline whose archive has it.
    pub timeline: TimelineId,
    /// Epoch and `tli` it was taken on.
    pub run: Run,
    /// Replay begins here.
    pub start_lsn: Lsn,
    /// Consistent from here on.
    pub stop_lsn: Lsn,
    /// Moment it was complete.
    pub stopped_at: DateTime<Utc>,
    /// Whether it has pages whose checksum was wrong.
    pub is_damaged: bool,
}

/// What is known of the archive of a database.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its epochs, in any order; of a fork also those of its ancestors.
    pub epochs: &'a [Written],
    /// The epoch that the history ends in: usually the newest.
    pub tip: (TimelineId, u32),
    /// Its backups, in any order; of a fork also those of its ancestors.
    pub backups: &'a [Taken],
    /// Everything that was committed before this moment is below the watermark of the tip.
    pub complete_until: DateTime<Utc>,
}

/// How to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where to begin.
    pub backup: Taken,
    /// All runs from the beginning of the history, also those before the backup: PostgreSQL wants
    /// to know the whole line. WAL is read from the leg of the backup on.
    pub path: Vec<Leg>,
    /// Where to end.
    pub target: Target,
    /// Everything that was committed before this moment is on the path. A target in time up to here
    /// is reached by the end of the path if nothing was committed after it.
    pub complete_until: DateTime<Utc>,
}

/// A stretch of history that can be restored to any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First position: where its first backup is consistent.
    pub from_lsn: Lsn,
    /// First moment.
    pub from: DateTime<Utc>,
    /// Last position.
    pub to_lsn: Lsn,
    /// Moment up to which all commits are in it; null if WAL is missing behind its end, and nobody
    /// knows when the last record before was written.
    pub to: Option<DateTime<Utc>>,
}

/// Why a target cannot be restored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplannable {
    /// The records of epochs do not fit together.
    #[error(transparent)]
    Broken(#[from] BrokenLine),
    /// No window has the target.
    #[error("{target} cannot be restored: {windows}")]
    OutsideOfWindows {
        /// The target.
        target: Target,
        /// What can be restored, oldest first.
        windows: Windows,
    },
}

/// What can be restored, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows(pub Vec<Window>);

/// Plans a restore to `target`: with the newest backup that serves it, because the least WAL is to
/// be replayed then; with one that is damaged only if no other serves it.
///
/// # Errors
/// [`Unplannable`] names what can be restored.
pub fn plan(known: &Known<'_>, target: Target) -> Result<Plan, Unplannable> {
    let line = line_to(known.epochs, known.tip)?;
    let mut usable = on_line(&line, known);
    // The newest first; of two that were consistent at one position the one with less to replay.
    usable.sort_by_key(|(leg, taken, _)| {
        let newer = std::cmp::Reverse((*leg, taken.stop_lsn, taken.start_lsn));
        (taken.is_damaged, newer)
    });
    let found = usable.iter().find_map(|&(leg, taken, end)| {
        let path = path_to(&line, (leg, end), (taken, target))?;
        let complete_until = if end.is_tip {
            known.complete_until
        } else {
            taken.stopped_at
        };
        Some(Plan {
            backup: *taken,
            path,
            target,
            complete_until,
        })
    });
    let plan = found.filter(|_| match target {
        // Of a window that ends at a hole nobody knows until when it goes: recovery finds out.
        Target::Time { at } => at <= known.complete_until,
        Target::End | Target::Lsn { .. } => true,
    });
    plan.ok_or_else(|| Unplannable::OutsideOfWindows {
        target,
        windows: Windows(windows_of(&line, known)),
    })
}

/// What can be restored, oldest first: one window, but for WAL that is missing.
///
/// # Errors
/// [`BrokenLine`] if the records of epochs do not fit together.
pub fn windows(known: &Known<'_>) -> Result<Windows, BrokenLine> {
    let line = line_to(known.epochs, known.tip)?;
    Ok(Windows(windows_of(&line, known)))
}

/// How far WAL can be followed from a backup on: a position on a leg of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reach {
    leg: usize,
    lsn: Lsn,
    is_tip: bool,
}

/// The backups of the line that can be made consistent: number of their leg, and how far WAL goes
/// on from them.
fn on_line<'a>(line: &[line::Stretch], known: &Known<'a>) -> Vec<(usize, &'a Taken, Reach)> {
    let usable = known.backups.iter().filter_map(|taken| {
        let leg = line.iter().position(|stretch| {
            (stretch.leg.timeline, stretch.leg.run) == (taken.timeline, taken.run)
        })?;
        let reach = reach(line, leg, taken.start_lsn);
        let consistent = (leg, taken.stop_lsn) <= (reach.leg, reach.lsn);
        let is_on_leg = taken.stop_lsn <= line.get(leg)?.leg.end;
        (consistent && is_on_leg).then_some((leg, taken, reach))
    });
    usable.collect()
}

/// Up to the first position from `start` on that is missing, or the end of the line.
fn reach(line: &[line::Stretch], leg: usize, start: Lsn) -> Reach {
    let mut reached = Reach {
        leg,
        lsn: start,
        is_tip: false,
    };
    for (number, stretch) in line.iter().enumerate().skip(leg) {
        reached.leg = number;
        let from = if number == leg { start } else { stretch.begin };
        if let Some(missing) = first_missing(&stretch.missing, from) {
            reached.lsn = missing;
            return reached;
        }
        reached.lsn = stretch.leg.end;
    }
    reached.is_tip = true;
    reached
}

/// The path from the beginning of the line to the target, if it lies between a backup and how far
/// its WAL goes.
fn path_to(
    line: &[line::Stretch],
    (backup_leg, reach): (usize, Reach),
    (taken, target): (&Taken, Target),
) -> Option<Vec<Leg>> {
    let (last, end) = match target {
        Target::End => reach.is_tip.then_some((reach.leg, reach.lsn))?,
        Target::Time { at } => (taken.stopped_at <= at).then_some((reach.leg, reach.lsn))?,
        Target::Lsn { lsn } => {
            // The line is one: a position lies on the first leg that ends at or beyond it.
            let leg = line.iter().position(|stretch| lsn <= stretch.leg.end)?;
            let stretch = line.get(leg)?;
            let from = if leg == backup_leg {
                taken.start_lsn
            } else {
                stretch.begin
            };
            let end = first_missing(&stretch.missing_at_end, from).unwrap_or(stretch.leg.end);
            let is_behind = (backup_leg, taken.stop_lsn) <= (leg, lsn);
            let is_reached = leg <= reach.leg && lsn <= end;
            (is_behind && is_reached).then_some((leg, end))?
        }
    };
    let legs = line.iter().take(last + 1).map(|stretch| stretch.leg);
    let mut path: Vec<Leg> = legs.collect();
    path.last_mut()?.end = end;
    Some(path)
}

fn windows_of(line: &[line::Stretch], known: &Known<'_>) -> Vec<Window> {
    let mut usable = on_line(line, known);
    usable.sort_by_key(|(leg, taken, _)| (*leg, taken.stop_lsn));
    let mut windows: Vec<(Reach, Window)> = Vec::new();
    for (_, taken, reach) in usable {
        if windows.last().is_some_and(|(last, _)| *last == reach) {
            continue;
        }
        let window = Window {
            from_lsn: taken.stop_lsn,
            from: taken.stopped_at,
            to_lsn: reach.lsn,
            to: reach.is_tip.then_some(known.complete_until),
        };
        windows.push((reach, window));
    }
    windows.into_iter().map(|(_, window)| window).collect()
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the end"),
            Self::Lsn { lsn } => write!(f, "position {lsn}"),
            Self::Time { at } => f.write_str(&moment(*at)),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to_lsn) = (moment(self.from), self.to_lsn);
        write!(f, "from {from} ({}) to ", self.from_lsn)?;
        match self.to {
            Some(to) => write!(f, "{} ({to_lsn})", moment(to)),
            None => write!(f, "position {to_lsn}, behind which WAL is missing"),
        }
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there is no backup that can be restored yet");
        }
        f.write_str("what can be restored is ")?;
        for (number, window) in self.0.iter().enumerate() {
            let between = if number == 0 { "" } else { ", and " };
            write!(f, "{between}{window}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
