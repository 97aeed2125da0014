//! What `pg_amcheck` writes, read. Anything may be in it: names and messages are what they are.

use std::fmt;

use shared::agent_api::check::{COMPLAINT_CHARS_MAX, COMPLAINTS_MAX};

/// Lines that are kept of what is not progress.
const LAST_LINES: usize = 5;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) pages_done: u64,
}

/// Reads a line of progress, as ` 12/301 relations (3%),  40/512 pages (7%)`; none if it is no such.
pub(super) fn progress_in(line: &str) -> Option<Seen> {
    let (relations, rest) = line.split_once(" relations (")?;
    let (done, total) = relations.trim().split_once('/')?;
    let (_, pages) = rest.split_once("), ")?;
    let (pages_done, _) = pages.trim().split_once('/')?;
    Some(Seen {
        done: done.parse().ok()?,
        total: total.parse().ok()?,
        pages_done: pages_done.parse().ok()?,
    })
}

/// What is wrong: a line that says where, and lines behind it that are indented and say what.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    first: Vec<String>,
    total: u64,
}

impl Complaints {
    /// Takes the next line.
    pub(super) fn add(&mut self, line: &str) {
        let text = line.trim();
        if text.is_empty() {
            return;
        }
        let goes_on = line.starts_with(' ') && self.total > 0;
        if !goes_on {
            self.total += 1;
            if self.first.len() < COMPLAINTS_MAX {
                self.first.push(shortened(text));
            }
        } else if let Some(last) = self.first.last_mut()
            && self.total <= u64::try_from(COMPLAINTS_MAX).unwrap_or(u64::MAX)
        {
            *last = shortened(&format!("{last} {text}"));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The first ones, and the number of all.
    pub(super) fn into_parts(self) -> (Vec<String>, u64) {
        (self.first, self.total)
    }
}

/// The last lines of what was said, shown as one.
#[derive(Debug, Default)]
pub(super) struct Last(Vec<String>);

impl Last {
    pub(super) fn add(&mut self, line: &str) {
        let text = line.trim();
        if text.is_empty() {
            return;
        }
        if self.0.len() == LAST_LINES {
            self.0.remove(0);
        }
        self.0.push(shortened(text));
    }
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("it said nothing");
        }
        f.write_str(&self.0.join("; "))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(COMPLAINT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(u64, u64, u64)>) {
        let seen = progress_in(line).map(|seen| (seen.done, seen.total, seen.pages_done));
        assert_eq!(seen, expected, "{line:?}");
    }

    #[test]
    fn progress_is_read_and_nothing_else() {
        check(
            "  0/301 relations (0%),   0/512 pages (0%)                  ",
            Some((0, 301, 0)),
        );
        check(
            "301/301 relations (100%), 512/512 pages (100%)",
            Some((301, 301, 512)),
        );
        check("pg_amcheck: error: query failed", None);
        check("x/3 relations (0%), 1/2 pages (0%)", None);
        check("", None);
    }

    #[test]
    fn what_is_indented_belongs_to_the_line_before() {
        let mut complaints = Complaints::default();
        assert!(complaints.is_empty());
        complaints.add("heap table \"shop.public.orders\", block 0, offset 3:");
        complaints.add("    xmin 4 precedes relation freeze threshold 0:1000");
        complaints.add("btree index \"shop.public.orders_pkey\":");
        complaints.add("    ERROR:  item order invariant violated");
        complaints.add("    DETAIL:  Lower index tid=(1,2)");
        let (first, total) = complaints.into_parts();
        assert_eq!(total, 2);
        assert_eq!(
            first,
            [
                "heap table \"shop.public.orders\", block 0, offset 3: xmin 4 precedes relation \
                 freeze threshold 0:1000",
                "btree index \"shop.public.orders_pkey\": ERROR:  item order invariant violated \
                 DETAIL:  Lower index tid=(1,2)",
            ]
        );
    }

    #[test]
    fn however_much_is_wrong_the_report_is_bounded() {
        let mut complaints = Complaints::default();
        for _ in 0..1000 {
            complaints.add("heap table:");
            complaints.add(&format!("    {}", "é".repeat(1000)));
        }
        let (first, total) = complaints.into_parts();
        assert_eq!((first.len(), total), (COMPLAINTS_MAX, 1000));
        let longest = first.iter().map(|complaint| complaint.chars().count());
        assert_eq!(longest.max(), Some(COMPLAINT_CHARS_MAX));
    }
}
