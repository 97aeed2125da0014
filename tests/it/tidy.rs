//! Rules that a machine can check: form of files, boundaries, and documents that are rendered.
//!
//! A rule is a function that gives one sentence for each place that breaks it; a test fails with
//! all of them. To add one: a file below `tidy/`, or a test in the file it belongs to.

mod boundaries;
mod documents;
mod form;
mod lua;
mod migrations;
mod sources;
mod strays;

use sources::Source;

/// Fails with every finding, one a line.
#[track_caller]
fn none(findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

/// One finding, where an editor can jump to it.
fn at(source: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", source.path)
}
