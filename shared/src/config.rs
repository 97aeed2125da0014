//! Configuration: options that several processes share, and how all options are read and checked.
//!
//! Every option is a flag and an environment variable `RINGMASTER_…`; `docs/configuration.md` is
//! rendered from them ([`render_markdown`]). Options that hold a secret come from the environment
//! or from a file: on the command line they are refused, because arguments are public on a machine.
//! [`parse`] checks everything once, at start, and lists all problems together.
//!
//! To add an option: a field with a doc comment that says meaning, unit and default, and
//! `env = "RINGMASTER_…"`; `hide_env_values = true` marks it as secret. What clap cannot check goes
//! into [`Validate::problems`].

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches, Parser};

mod archive;
mod database;
mod documentation;
mod encryption_key;
mod log;
mod redis_options;

pub use archive::ArchiveOptions;
pub use database::ControlDatabaseOptions;
pub use documentation::render_markdown;
pub use encryption_key::EncryptionKeyOptions;
pub use log::LogOptions;
pub use redis_options::{RedisOptions, RedisTarget};

/// Options that can be checked beyond the form of each single one.
pub trait Validate {
    /// Adds a sentence for each thing that is wrong, naming the option and what to do.
    fn problems(&self, problems: &mut Vec<String>);
}

/// Reads the options of this process from its arguments and environment, and checks them. Shows
/// help, version and mistakes in the form of arguments by itself and ends the process then.
///
/// # Errors
/// [`ConfigError`] lists everything else that is wrong.
pub fn parse<T: Parser + Validate>() -> Result<T, ConfigError> {
    let matches = T::command().get_matches();
    checked(&T::command(), &matches)
}

/// As [`parse`], from the given arguments; the first is the name of the program.
///
/// # Errors
/// [`ConfigError`] lists everything that is wrong.
pub fn parse_from<T: Parser + Validate>(arguments: &[&str]) -> Result<T, ConfigError> {
    let matches = T::command()
        .try_get_matches_from(arguments)
        .map_err(|error| ConfigError(vec![error.to_string().trim_end().to_owned()]))?;
    checked(&T::command(), &matches)
}

fn checked<T: FromArgMatches + Validate>(
    command: &Command,
    matches: &ArgMatches,
) -> Result<T, ConfigError> {
    let mut problems: Vec<String> = command
        .get_arguments()
        .filter(|arg| is_secret(arg) && on_command_line(arg, matches))
        .map(refusal)
        .collect();
    match T::from_arg_matches(matches) {
        Err(error) => problems.push(error.to_string()),
        Ok(options) => {
            options.problems(&mut problems);
            if problems.is_empty() {
                return Ok(options);
            }
        }
    }
    Err(ConfigError(problems))
}

fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

fn on_command_line(arg: &Arg, matches: &ArgMatches) -> bool {
    matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

fn refusal(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or_default();
    let variable = arg.get_env().unwrap_or_default().to_string_lossy();
    format!("--{name} may hold a secret, and arguments are public: set {variable} instead")
}

/// Everything that is wrong with the configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not usable:\n  - {}", .0.join("\n  - "))]
pub struct ConfigError(Vec<String>);

#[cfg(test)]
mod tests;
