//! Boundaries as absences: what must not be found outside of its place.

use super::{at, none, sources};

/// A word of code, and the places where it may be.
struct Boundary {
    /// Files it is about: those below here.
    within: &'static str,
    words: &'static [&'static str],
    allowed: &'static [&'static str],
    why: &'static str,
}

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        within: "",
        words: &[
            "sqlx::query",
            "query!(",
            "query_as!(",
            "query_scalar!(",
            "query_file!(",
        ],
        allowed: &[
            "shared/src/db",
            "shared/src/db.rs",
            "agent/src/",
            "workers/src/observe",
            "loadtest/",
            "tests/",
        ],
        why: "SQL of the control database is in shared/src/db; the agent administers its own server",
    },
    Boundary {
        within: "",
        words: &["redis::"],
        allowed: &[
            "shared/src/queue",
            "shared/src/queue.rs",
            "loadtest/",
            "tests/",
        ],
        why: "Redis is spoken to only in shared/src/queue",
    },
    Boundary {
        within: "",
        words: &["aws_sdk_", "aws_config"],
        allowed: &["shared/src/archive", "workers/src/cloud", "tests/it/tidy/"],
        why: "only the archive and the cloud providers know AWS",
    },
    Boundary {
        within: "shared/src/machine",
        words: &[
            "tokio::",
            "async fn",
            ".await",
            "std::fs",
            "std::net",
            "Instant",
            "SystemTime",
        ],
        allowed: &["shared/src/machine/check"],
        why: "decisions have no I/O, no clock and no async",
    },
    Boundary {
        within: "api/src",
        words: &["workers::", "agent::"],
        allowed: &[],
        why: "the API knows neither workers nor agents",
    },
    Boundary {
        within: "workers/src",
        words: &["api::"],
        allowed: &[],
        why: "workers know nothing of the API",
    },
];

#[test]
fn what_belongs_to_one_place_is_not_found_elsewhere() {
    let mut findings = Vec::new();
    for source in sources::all("rs") {
        for boundary in BOUNDARIES {
            let allowed = boundary
                .allowed
                .iter()
                .any(|allowed| source.path.starts_with(allowed));
            if allowed
                || !source.path.starts_with(boundary.within)
                || source.path.ends_with("tests.rs")
            {
                continue;
            }
            for (number, line) in source.code() {
                if boundary.words.iter().any(|word| has_word(line, word)) {
                    findings.push(at(&source, number, boundary.why));
                }
            }
        }
    }
    none(&findings);
}

/// Whether `word` is in the line, and not as the end of a longer name (`agent_api::`).
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

#[test]
fn a_word_is_not_found_inside_another() {
    assert!(has_word("use api::Routes;", "api::"));
    assert!(!has_word("use shared::agent_api::Spec;", "api::"));
    assert!(!has_word("use shared::api::Spec;", "api::"));
    assert!(has_word("    x().await?;", ".await"));
}
