//! The form of Rust files.

use super::{at, none, sources};

/// Most lines of a file: one that passes this is looking for a seam.
const FILE_LINES: usize = 500;

/// Most lines of a function, as in `clippy.toml`, which does not look at tests.
const FUNCTION_LINES: usize = 70;

#[test]
fn no_file_is_too_long() {
    let long = sources::all("rs").into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > FILE_LINES).then(|| at(&source, lines, "more than 500 lines"))
    });
    none(&long.collect::<Vec<_>>());
}

/// Functions are found by their layout, which rustfmt fixes: a line with `fn`, and the first line
/// after it that closes a brace at the same depth. Lines without code do not count.
#[test]
fn no_function_is_too_long() {
    let mut findings = Vec::new();
    for source in sources::all("rs") {
        let mut open: Option<(usize, String)> = None;
        let mut length = 0;
        for (number, line) in source.lines() {
            let code = line.trim();
            if !code.is_empty() && !code.starts_with("//") {
                length += 1;
            }
            match &open {
                Some((start, end)) if line == end => {
                    if length > FUNCTION_LINES + 2 {
                        findings.push(at(&source, *start, "a function of more than 70 lines"));
                    }
                    open = None;
                }
                None if begins_function(line) && !code.ends_with(';') => {
                    let indent = &line[..line.len() - line.trim_start().len()];
                    open = Some((number, format!("{indent}}}")));
                    length = 1;
                }
                Some(_) | None => {}
            }
        }
    }
    none(&findings);
}

fn begins_function(line: &str) -> bool {
    let words = ["pub", "pub(crate)", "pub(super)", "async", "const", "fn"];
    let mut begins = line.split_whitespace();
    begins
        .find(|word| !words[..5].contains(word))
        .is_some_and(|word| word == "fn")
        && !line.trim_end().ends_with('}')
}

#[test]
fn modules_are_files_beside_their_directory() {
    let findings: Vec<String> = sources::all("rs")
        .iter()
        .filter(|source| source.path.ends_with("/mod.rs"))
        .map(|source| at(source, 1, "use foo.rs + foo/ instead of mod.rs"))
        .collect();
    none(&findings);
}

#[test]
fn a_file_says_what_it_is() {
    // Tests are told by what they are beside: a module, or a script.
    let is_tests = |path: &str| path.ends_with("tests.rs") || path.starts_with("tests/it/lua/");
    let findings: Vec<String> = sources::all("rs")
        .iter()
        .filter(|source| !is_tests(&source.path))
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| at(source, 1, "the first line is not a module document (//!)"))
        .collect();
    none(&findings);
}

/// What is to be done is an issue; a comment may point to it.
#[test]
fn what_is_to_be_done_names_its_issue() {
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
    ];
    let mut findings = Vec::new();
    for source in sources::all("rs") {
        for (number, line) in source.lines() {
            let marked = marks.iter().find_map(|mark| line.split_once(mark.as_str()));
            if marked.is_some_and(|(_, rest)| !rest.starts_with("(#")) {
                findings.push(at(&source, number, "write the number of its issue: (#123)"));
            }
        }
    }
    none(&findings);
}

#[test]
fn names_of_tests_are_sentences() {
    let mut findings = Vec::new();
    for source in sources::all("rs") {
        let mut is_test = false;
        for (number, line) in source.lines() {
            let line = line.trim();
            if line == "#[test]" || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && line.contains("fn ") {
                is_test = false;
                let name = line.split("fn ").nth(1).unwrap_or_default();
                let name = name.split('(').next().unwrap_or_default();
                if name.starts_with("test_") || name.split('_').count() < 3 {
                    findings.push(at(&source, number, "the name of a test is a sentence"));
                }
            }
        }
    }
    none(&findings);
}

#[test]
fn no_test_is_ignored() {
    let mark = ["#[ign", "ore"].concat();
    let mut findings = Vec::new();
    for source in sources::all("rs") {
        for (number, line) in source.lines() {
            if line.trim_start().starts_with(&mark) {
                findings.push(at(
                    &source,
                    number,
                    "a test that does not run proves nothing",
                ));
            }
        }
    }
    none(&findings);
}
