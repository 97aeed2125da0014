//! What is told at the end of the start: where everything is, and what to do first.

use std::env;

use super::Directory;
use super::state::{Ports, loopback};

/// Where everything is, and first commands.
pub(super) fn announcement(directory: &Directory, ports: Ports) -> String {
    let shown = |name: &str| directory.shown().join(name).display().to_string();
    let api = loopback(ports.api);
    let command = own_command();
    let rows = [
        ("API", format!("http://{api}   (/openapi.json, /metrics)")),
        ("token", shown("admin.token")),
        (
            "worker",
            format!("http://{}   (/metrics, /readyz)", loopback(ports.worker)),
        ),
        (
            "databases",
            format!(
                "{} by sessions, {} pooled by transaction",
                loopback(ports.sessions),
                loopback(ports.pooled)
            ),
        ),
        ("control database", format!("{}", loopback(ports.postgres))),
        ("Redis", format!("{}", loopback(ports.redis))),
        (
            "archive",
            format!("http://{}   (an S3)", loopback(ports.object_store)),
        ),
        ("logs", shown("log/")),
        ("data", shown("")),
    ];
    let rows: Vec<String> = rows
        .iter()
        .map(|(what, place)| format!("  {what:<18}{place}\n"))
        .collect();
    format!(
        "\nRingmaster is up.\n\n{}\nTry:\n\n  \
         {command} create shop --plan standard --wait\n  \
         {command} psql shop\n  \
         {command} events shop --follow\n",
        rows.concat()
    )
}

/// How to call this program from the current directory: by its name if the shell finds it.
fn own_command() -> String {
    let Ok(own) = env::current_exe() else {
        return "ringmaster".to_owned();
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|directory| directory.join("ringmaster"))
        .find_map(|candidate| candidate.canonicalize().ok());
    if found.as_deref() == Some(own.as_path()) {
        return "ringmaster".to_owned();
    }
    let here = env::current_dir().unwrap_or_default();
    own.strip_prefix(&here)
        .unwrap_or(&own)
        .display()
        .to_string()
}
