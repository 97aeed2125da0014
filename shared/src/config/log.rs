//! What is logged.

use clap::Args;

use super::Validate;
use crate::telemetry::{chain, parse_filter};

/// What is logged. Lines are logfmt on standard output.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogOptions {
    /// Which events are logged: a level (`error`, `warn`, `info`, `debug`, `trace`), and levels of
    /// single modules, as in `info,workers=debug`.
    #[arg(
        long,
        env = "RINGMASTER_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
}

impl Validate for LogOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        if let Err(error) = parse_filter(&self.log) {
            problems.push(format!("--log: {}", chain(&error)));
        }
    }
}
