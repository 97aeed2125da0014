//! What sessions know of their commits, and what must be in a database that was put back to a moment.
//!
//! Nobody outside of PostgreSQL knows the moment and the position of a commit record. But each lies
//! between two marks of its session: one that the transaction itself read as its last statement, and
//! one that was read after the commit was acknowledged. So of every commit whose marks lie on one
//! side of a target it is certain whether it must be there, and of the next commit of each session it
//! is open; of one session exactly one commit is. That no commit is left out before one that is there
//! holds for open ones, too: whatever was acknowledged before another one began is older.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use shared::archive::plan::Target;
use shared::units::Lsn;

/// What a session reads of the server's clock, and of where its next record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: DateTime<Utc>,
    pub(super) lsn: Lsn,
}

/// Which commit: number of the session, and number among those it has sent, from one on.
pub(super) type Name = (i32, i32);

/// A commit that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Read before it was sent, as part of the transaction.
    pub(super) before: Mark,
    /// Whether the server has said that it is committed.
    pub(super) is_acknowledged: bool,
    /// Read after it was acknowledged; null if the session was lost before.
    pub(super) after: Option<Mark>,
}

/// Whether a commit belongs to what was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    There,
    Absent,
    Either,
}

impl Entry {
    /// `bound` is the first position from the target on at which a record is known to begin: the one
    /// record that a restore to a position has beyond it ends before the next.
    fn expected(&self, target: Target, bound: Option<Lsn>) -> Expected {
        let (is_before, is_beyond) = match target {
            Target::End => (self.is_acknowledged, false),
            Target::Time { at } => (
                self.after.is_some_and(|after| after.at <= at),
                self.before.at > at,
            ),
            Target::Lsn { lsn } => (
                self.after.is_some_and(|after| after.lsn <= lsn),
                bound.is_some_and(|bound| self.before.lsn > bound),
            ),
        };
        match (is_before, is_beyond) {
            (true, _) => Expected::There,
            (false, true) => Expected::Absent,
            (false, false) => Expected::Either,
        }
    }
}

/// What a check has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    /// Commits that are there.
    pub(super) found: usize,
    /// Commits of which it was certain whether they have to be.
    pub(super) certain: usize,
    /// All that were sent.
    pub(super) sent: usize,
}

/// All commits of all sessions. Clones are the same ledger.
#[derive(Debug, Clone)]
pub(super) struct Ledger(Arc<Mutex<Vec<Vec<Entry>>>>);

impl Ledger {
    pub(super) fn of(sessions: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![Vec::new(); sessions])))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vec<Vec<Entry>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Number of the next commit of a session.
    pub(super) fn next(&self, session: usize) -> anyhow::Result<i32> {
        let sent = self.with(|sessions| sessions[session].len());
        Ok(i32::try_from(sent + 1)?)
    }

    /// The next commit of a session is about to be sent.
    pub(super) fn sent(&self, session: usize, before: Mark) {
        let entry = Entry {
            before,
            is_acknowledged: false,
            after: None,
        };
        self.with(|sessions| sessions[session].push(entry));
    }

    /// Changes the last commit of a session.
    pub(super) fn last(&self, session: usize, change: impl FnOnce(&mut Entry)) {
        self.with(|sessions| sessions[session].last_mut().map(change));
    }

    /// All commits.
    pub(super) fn entries(&self) -> Vec<(Name, Entry)> {
        let named = |(session, entries): (usize, &Vec<Entry>)| {
            let session = i32::try_from(session).unwrap_or(i32::MAX);
            let numbered = (1..).zip(entries.clone());
            numbered.map(move |(number, entry)| ((session, number), entry))
        };
        self.with(|sessions| {
            sessions
                .iter()
                .enumerate()
                .flat_map(named)
                .collect::<Vec<_>>()
        })
    }

    /// Number of commits that were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        let all = self.entries();
        all.iter()
            .filter(|(_, entry)| entry.is_acknowledged)
            .count()
    }

    /// Compares what is in a database that was restored to `target` with what must be.
    pub(super) fn check(&self, target: Target, found: &HashSet<Name>) -> anyhow::Result<Figures> {
        let entries = self.entries();
        let bound = bound_of(target, &entries);
        let there = entries.iter().filter(|(name, _)| found.contains(name));
        let newest = there.clone().map(|(_, entry)| entry.before.at).max();
        let mut wrong = Vec::new();
        let mut certain = 0;
        for (name, entry) in &entries {
            let (expected, is_there) = (entry.expected(target, bound), found.contains(name));
            certain += usize::from(expected != Expected::Either);
            let overtaken = entry.after.map(|after| after.at) < newest && entry.after.is_some();
            let fault = match expected {
                Expected::There if !is_there => "is missing",
                Expected::Absent if is_there => "came later",
                _ if !is_there && overtaken => "is missing before another one",
                _ => continue,
            };
            wrong.push(format!("{name:?} {fault}: {entry:?}"));
        }
        let figures = Figures {
            found: found.len(),
            certain,
            sent: entries.len(),
        };
        let known = there.count();
        anyhow::ensure!(
            known == found.len(),
            "{} commits at {target} were never sent: {figures:?}",
            found.len() - known,
        );
        let first: Vec<&String> = wrong.iter().take(20).collect();
        anyhow::ensure!(
            wrong.is_empty(),
            "{} commits are wrong at {target}: {figures:?} {first:#?}",
            wrong.len(),
        );
        Ok(figures)
    }
}

/// The first position from the target on at which a record is known to begin.
fn bound_of(target: Target, entries: &[(Name, Entry)]) -> Option<Lsn> {
    let Target::Lsn { lsn } = target else {
        return None;
    };
    let marks = entries
        .iter()
        .flat_map(|(_, entry)| [Some(entry.before), entry.after]);
    let at = marks.flatten().map(|mark| mark.lsn);
    at.filter(|at| *at >= lsn).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: i64) -> Mark {
        Mark {
            at: DateTime::from_timestamp_micros(at).unwrap(),
            lsn: Lsn::from_bytes(at.unsigned_abs() * 10),
        }
    }

    /// Two sessions: 10–12 and 20–22; 11–21, and one at 30 whose answer was lost.
    fn ledger() -> Ledger {
        let ledger = Ledger::of(2);
        for (session, before, after) in [(0, 10, 12), (1, 11, 21), (0, 20, 22)] {
            ledger.sent(session, mark(before));
            ledger.last(session, |entry| {
                entry.is_acknowledged = true;
                entry.after = Some(mark(after));
            });
        }
        ledger.sent(1, mark(30));
        ledger
    }

    #[track_caller]
    fn check(target: Target, found: &[Name], fault: Option<&str>) {
        let result = ledger().check(target, &found.iter().copied().collect());
        let said = result.err().map(|error| error.to_string());
        match (fault, said) {
            (None, said) => assert_eq!(said, None),
            (Some(fault), said) => assert!(said.unwrap().contains(fault)),
        }
    }

    #[test]
    fn what_is_certain_must_be_so_and_the_rest_has_an_order() {
        let time = |at| Target::Time { at: mark(at).at };
        check(time(12), &[(0, 1)], None);
        check(time(12), &[(0, 1), (1, 1)], None);
        check(time(12), &[(1, 1)], Some("is missing"));
        check(time(12), &[(0, 1), (0, 2)], Some("came later"));
        check(time(12), &[(0, 1), (0, 3)], Some("never sent"));
        check(time(20), &[(0, 1), (0, 2)], None);
        check(time(11), &[], None);
        check(time(20), &[(0, 2)], Some("is missing"));
        check(time(9), &[(0, 1)], Some("came later"));
        check(Target::End, &[(0, 1), (0, 2), (1, 1)], None);
        check(Target::End, &[(0, 1), (0, 2), (1, 1), (1, 2)], None);
        check(Target::End, &[(0, 1), (0, 2)], Some("is missing"));
        check(Target::End, &[(0, 1), (1, 1), (1, 2)], Some("is missing"));
    }

    #[test]
    fn a_restore_to_a_position_may_have_one_record_beyond_it() {
        let position = |bytes| Target::Lsn {
            lsn: Lsn::from_bytes(bytes),
        };
        check(position(120), &[(0, 1)], None);
        check(position(120), &[(0, 1), (1, 1)], None);
        // A record may end where the transaction noted that it was about to be committed.
        check(position(195), &[(0, 1), (0, 2)], None);
        check(position(195), &[(0, 1), (1, 2)], Some("came later"));
        check(position(120), &[(0, 1), (0, 2)], Some("came later"));
    }
}
