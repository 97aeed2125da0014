//! The table of all options.

use clap::{Arg, ArgAction, Command};

use super::is_secret;

/// Text before the tables.
const PREAMBLE: &str = "# Configuration\n\n\
    Rendered from the options in the code; do not edit.\n\n\
    Each option is a flag and an environment variable; the flag wins. Secrets are taken from the \
    environment or from a file, never from the command line. A process checks everything at start \
    and lists all problems together.\n";

/// Renders one table for each of `commands`, for `docs/configuration.md`.
pub fn render_markdown(commands: &[Command]) -> String {
    let sections: Vec<String> = commands.iter().map(section).collect();
    format!("{PREAMBLE}{}", sections.concat())
}

fn section(command: &Command) -> String {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let with_variable = command
        .get_arguments()
        .filter(|arg| arg.get_env().is_some());
    let rows: Vec<String> = with_variable.map(row).collect();
    format!(
        "\n## {}\n\n{about}\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n{}",
        command.get_name(),
        rows.concat()
    )
}

fn row(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or_default();
    let value = match arg.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse => String::new(),
        _ => arg
            .get_value_names()
            .and_then(<[_]>::first)
            .map(|value| format!(" {value}"))
            .unwrap_or_default(),
    };
    let flag = if is_secret(arg) {
        String::from("–")
    } else {
        format!("`--{name}{value}`")
    };
    let variable = arg.get_env().unwrap_or_default().to_string_lossy();
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    let about = arg
        .get_long_help()
        .or_else(|| arg.get_help())
        .map(ToString::to_string);
    let about = about
        .unwrap_or_default()
        .replace("\n\n", " ")
        .replace('\n', " ")
        .replace('|', "\\|");
    format!(
        "| {flag} | `{variable}` | {} | {about} |\n",
        defaults.join(", ")
    )
}
