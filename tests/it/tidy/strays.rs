//! Things that belong together: alerts and their runbooks, states and what they mean.

use shared::domain::{ArchiveAlert, GatewayAlert};
use shared::machine::Alert;

use super::{none, sources};

#[test]
fn each_runbook_says_what_to_do() {
    let mut findings = Vec::new();
    for source in sources::all("md") {
        let Some(name) = source.path.strip_prefix("docs/runbooks/") else {
            continue;
        };
        let name = name.trim_end_matches(".md");
        if !source.text.starts_with("# ") {
            findings.push(format!(
                "docs/runbooks/{name}.md: does not begin with a title"
            ));
        }
        if source.text.lines().count() < 5 {
            findings.push(format!(
                "docs/runbooks/{name}.md: too short to help anybody"
            ));
        }
    }
    none(&findings);
}

#[test]
fn each_alert_has_a_runbook() {
    let runbooks = sources::names_in("docs/runbooks");
    let of_machines = Alert::ALL.iter().map(|alert| alert.as_str());
    let of_the_archive = ArchiveAlert::ALL.iter().map(|alert| alert.as_str());
    let of_gateways = GatewayAlert::ALL.iter().map(|alert| alert.as_str());
    let missing: Vec<String> = of_machines
        .chain(of_the_archive)
        .chain(of_gateways)
        .filter(|alert| !runbooks.contains(&format!("{alert}.md")))
        .map(|alert| format!("docs/runbooks/{alert}.md is missing"))
        .collect();
    none(&missing);
}

/// A runbook is named in code: by the alert, or by whoever raises it.
#[test]
fn each_runbook_is_for_an_alert() {
    let code: Vec<String> = sources::all("rs")
        .into_iter()
        .map(|source| source.text)
        .collect();
    let strays: Vec<String> = sources::names_in("docs/runbooks")
        .iter()
        .filter(|name| {
            let quoted = format!("\"{}\"", name.trim_end_matches(".md"));
            !code.iter().any(|text| text.contains(&quoted))
        })
        .map(|name| format!("docs/runbooks/{name}: no code names such an alert"))
        .collect();
    none(&strays);
}

/// Every dashboard, runbook and document that is linked to exists.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for source in sources::all("md") {
        let directory = std::path::Path::new(&source.path).parent().unwrap();
        for (number, line) in source.lines() {
            for link in line.split("](").skip(1) {
                let target = link.split([')', '#']).next().unwrap_or_default();
                let outside = target.is_empty() || target.contains("://");
                if !outside && !sources::root().join(directory).join(target).exists() {
                    findings.push(super::at(
                        &source,
                        number,
                        &format!("{target} does not exist"),
                    ));
                }
            }
        }
    }
    none(&findings);
}
