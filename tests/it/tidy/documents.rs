//! Documents that are rendered from code say what the code says.

use std::fs;

use super::{none, sources};

#[test]
fn rendered_documents_are_up_to_date() {
    let stale: Vec<String> = tests::documents::rendered()
        .into_iter()
        .filter(|(path, text)| {
            fs::read_to_string(sources::root().join(path)).ok().as_ref() != Some(text)
        })
        .map(|(path, _)| format!("{path} is not what the code says: run make prepare"))
        .collect();
    none(&stale);
}

#[test]
fn every_exit_code_is_in_the_readme() {
    let readme = fs::read_to_string(sources::root().join("README.md")).unwrap();
    let missing: Vec<String> = cli::failure::FailureKind::ALL
        .iter()
        .map(|kind| format!("| {} | {} |", kind.code(), kind.meaning()))
        .filter(|row| !readme.contains(row))
        .map(|row| format!("README.md: the table of exit codes lacks {row}"))
        .collect();
    none(&missing);
}

#[test]
fn every_command_is_in_the_readme() {
    use clap::CommandFactory as _;

    let readme = fs::read_to_string(sources::root().join("README.md")).unwrap();
    let missing: Vec<String> = cli::arguments::Arguments::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .filter(|name| name != "help" && !readme.contains(&format!("| `{name}")))
        .map(|name| format!("README.md: the table of commands lacks {name}"))
        .collect();
    none(&missing);
}
