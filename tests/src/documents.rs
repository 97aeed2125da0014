//! Documents that are rendered from code: kept in the repository for readers, checked by a test,
//! written anew by `make prepare`.

use clap::{Command, CommandFactory as _};

/// Path from the root of the repository, and content, of each document.
pub fn rendered() -> Vec<(&'static str, String)> {
    vec![
        (
            "docs/configuration.md",
            shared::config::render_markdown(&programs()),
        ),
        (
            "docs/metrics.md",
            shared::telemetry::metrics::render_markdown(),
        ),
        ("docs/problems.md", shared::http_api::render_problems()),
    ]
}

/// Every program, with its options.
fn programs() -> Vec<Command> {
    let ringmaster = cli::arguments::Arguments::command();
    let up = ringmaster
        .find_subcommand("up")
        .cloned()
        .map(|up| up.name("ringmaster up"));
    let mut programs = vec![
        api::config::ApiOptions::command(),
        workers::service::WorkerOptions::command(),
        agent::AgentOptions::command(),
        gateway::GatewayOptions::command(),
        object_store::ObjectStoreOptions::command(),
        ringmaster,
    ];
    programs.extend(up);
    programs
}
