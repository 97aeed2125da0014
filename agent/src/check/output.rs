//! What `pg_amcheck` writes, read. Anything may be in it: names and messages are what they are.

use shared::agent_api::check::{COMPLAINT_CHARS_MAX, COMPLAINTS_MAX};

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
///
/// A function of a customer that an index uses may fail for reasons of its own: that index could not be
/// checked, and nothing says that it is damaged.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    first: Vec<String>,
    total: u64,
    unchecked: u64,
    current: Option<Complaint>,
    repeats_query: bool,
}

/// What a complaint begins with.
const HEADINGS: [&str; 3] = ["heap table ", "btree index ", "database "];

/// One whose lines are still read.
#[derive(Debug)]
struct Complaint {
    text: String,
    is_about_index: bool,
    /// Code of its first error; none if it has none.
    code: Option<String>,
}

/// Classes of errors that only what a customer has written makes: of data that a function does not
/// take, of names it does not find, of what it raises.
const OF_CUSTOMERS: [&str; 7] = ["22", "2F", "38", "39", "42", "0A", "P0"];

impl Complaint {
    fn is_damage(&self) -> bool {
        let class = self.code.as_deref().and_then(|code| code.get(..2));
        !(self.is_about_index && class.is_some_and(|class| OF_CUSTOMERS.contains(&class)))
    }
}

impl Complaints {
    /// Takes the next line.
    pub(super) fn add(&mut self, line: &str) {
        let text = line.trim();
        if text.is_empty() {
            return;
        }
        // Behind an error it repeats its own query, over several lines.
        if text.starts_with("query was: ") {
            self.end_current();
            self.repeats_query = true;
            return;
        }
        if self.repeats_query && !HEADINGS.iter().any(|heading| text.starts_with(heading)) {
            return;
        }
        self.repeats_query = false;
        match &mut self.current {
            Some(complaint) if line.starts_with(' ') => {
                if text.starts_with("LOCATION:") {
                    return;
                }
                complaint.code = complaint.code.take().or_else(|| code_in(text));
                complaint.text = shortened(&format!("{} {text}", complaint.text));
            }
            Some(_) | None => {
                self.end_current();
                self.current = Some(Complaint {
                    text: shortened(text),
                    is_about_index: text.starts_with("btree index "),
                    code: None,
                });
            }
        }
    }

    fn end_current(&mut self) {
        let Some(complaint) = self.current.take() else {
            return;
        };
        if complaint.is_damage() {
            self.total += 1;
            if self.first.len() < COMPLAINTS_MAX {
                self.first.push(complaint.text);
            }
        } else {
            self.unchecked += 1;
            tracing::warn!(what = complaint.text, "an index could not be checked");
        }
    }

    /// Whether there was anything.
    pub(super) fn has_said_something(&self) -> bool {
        self.total > 0 || self.unchecked > 0 || self.current.is_some()
    }

    /// The first ones, and the number of all.
    pub(super) fn into_parts(mut self) -> (Vec<String>, u64) {
        self.end_current();
        (self.first, self.total)
    }
}

/// The code of an error, as in `ERROR:  XX002: item order invariant violated`.
fn code_in(line: &str) -> Option<String> {
    let (code, _) = line.strip_prefix("ERROR:")?.trim_start().split_once(": ")?;
    let is_code = code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| code.to_owned())
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
        assert!(!complaints.has_said_something());
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
    fn a_function_that_fails_is_no_damage_of_its_index() {
        let told = |lines: &[&str]| {
            let mut complaints = Complaints::default();
            for line in lines {
                complaints.add(line);
            }
            assert!(complaints.has_said_something());
            complaints.into_parts().1
        };
        let index = "btree index \"shop.public.by_name\":";
        let missing = "    ERROR:  42883: function unaccent(text) does not exist";
        let damaged = "    ERROR:  XX002: item order invariant violated for index \"by_name\"";
        assert_eq!(told(&[index, missing, "    LOCATION:  parse_func.c:1"]), 0);
        let query = [
            "query was: SELECT bt_index_check()",
            "FROM pg_catalog.pg_class",
        ];
        assert_eq!(told(&[index, missing, query[0], query[1]]), 0);
        assert_eq!(
            told(&[index, missing, query[0], query[1], index, damaged]),
            1
        );
        assert_eq!(told(&[index, damaged]), 1);
        assert_eq!(told(&[index, missing, index, damaged]), 1);
        assert_eq!(told(&["heap table \"shop.public.orders\":", missing]), 1);
        assert_eq!(
            told(&[index, "    ERROR:  58P01: could not open file \"base/5/1\""]),
            1
        );
        assert_eq!(told(&[index]), 1);
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
