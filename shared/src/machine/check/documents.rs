//! The documents match the code.

use std::path::{Path, PathBuf};

use super::Alert;
use crate::machine::render;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn the_rendered_tables_are_committed() {
    for (name, expected) in render::documents() {
        let committed = std::fs::read_to_string(docs().join("machines").join(name));
        assert!(
            committed
                .as_deref()
                .is_ok_and(|committed| committed == expected),
            "docs/machines/{name} is not what the tables say: run \
             `cargo run -p shared --example render_machines` and commit the difference"
        );
    }
}

#[test]
fn each_alert_has_a_runbook() {
    for alert in Alert::ALL {
        let path = docs().join(format!("runbooks/{alert}.md"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text.starts_with(&format!("# {alert}\n")),
            "docs/runbooks/{alert}.md is missing or does not begin with `# {alert}`"
        );
    }
}
