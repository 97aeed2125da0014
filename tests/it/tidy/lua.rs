//! The form of Lua scripts: one verb, one file, one header, one module of tests.

use std::path::Path;

use super::{at, none, sources};

/// What a header tells, in this order.
const HEADER: &[&str] = &["KEYS", "ARGV", "Returns", "Cost", "Keeps"];

#[test]
fn each_script_says_what_it_does_and_keeps() {
    let mut findings = Vec::new();
    for source in sources::all("lua") {
        let name = Path::new(&source.path)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let header = source.text.split("]]").next().unwrap_or_default();
        if !header.starts_with(&format!("--[[\n{name}: ")) {
            findings.push(at(
                &source,
                2,
                "the header begins with the name and the purpose",
            ));
        }
        let mut rest = header;
        for section in HEADER {
            match rest.split_once(&format!("\n{section} ")) {
                Some((_, after)) => rest = after,
                None => findings.push(at(&source, 1, &format!("the header has no {section}"))),
            }
        }
    }
    none(&findings);
}

#[test]
fn each_script_has_its_tests() {
    let tests = sources::names_in("tests/it/lua");
    let findings: Vec<String> = sources::all("lua")
        .iter()
        .filter(|source| {
            let stem = Path::new(&source.path)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            !tests.contains(&format!("{stem}.rs"))
        })
        .map(|source| at(source, 1, "tests/it/lua has no file of this name"))
        .collect();
    none(&findings);
}

/// The body reads its keys and arguments by name: the first lines give them one.
#[test]
fn the_body_of_a_script_sees_no_numbers_of_arguments() {
    let mut findings = Vec::new();
    for source in sources::all("lua") {
        let mut in_header = true;
        for (number, line) in source.lines() {
            if in_header {
                in_header = !line.contains("]]");
                continue;
            }
            let reads = ["KEYS[", "ARGV["].iter().any(|array| {
                line.split(array).skip(1).any(|after| {
                    let index = after.split(']').next().unwrap_or_default();
                    index.bytes().all(|byte| byte.is_ascii_digit())
                })
            });
            if reads && !line.trim_start().starts_with("local ") {
                findings.push(at(&source, number, "name it in a local first"));
            }
        }
    }
    none(&findings);
}
