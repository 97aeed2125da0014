//! The form of migrations.

use super::{at, none, sources};

/// First words of names: `<timestamp>_<verb>_<object>.sql`.
const VERBS: &[&str] = &["create", "add", "drop", "change", "rename", "fill", "index"];

#[test]
fn names_of_migrations_say_when_and_what() {
    let mut findings = Vec::new();
    let mut last = String::new();
    for name in sources::names_in("migrations") {
        let stem = name.strip_suffix(".sql").unwrap_or_default();
        let (time, rest) = stem.split_once('_').unwrap_or_default();
        let verb = rest.split('_').next().unwrap_or_default();
        let good_time = time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit());
        if !good_time || !VERBS.contains(&verb) || !rest.contains('_') {
            findings.push(format!(
                "migrations/{name}: not <timestamp>_<verb>_<object>.sql"
            ));
        }
        if time == last {
            findings.push(format!("migrations/{name}: the same moment as another one"));
        }
        time.clone_into(&mut last);
    }
    assert!(!last.is_empty(), "no migration was found");
    none(&findings);
}

#[test]
fn migrations_do_not_wait_for_locks_for_ever() {
    let migrations = sources::all("sql").into_iter();
    let findings: Vec<String> = migrations
        .filter(|source| source.path.starts_with("migrations/"))
        .filter(|source| !source.text.starts_with("set local lock_timeout = "))
        .map(|source| at(&source, 1, "begin with: set local lock_timeout = '5s';"))
        .collect();
    none(&findings);
}
