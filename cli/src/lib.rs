//! The command line of Ringmaster: a client of the HTTP API, and `ringmaster up`.
//!
//! Results go to standard output, as tables for people or (`--json`) one JSON document for
//! programs; progress and errors go to standard error. Every error says what to do next where that
//! is known, and its kind is the exit code ([`failure::FailureKind`]).
//!
//! To add a command: a file in `commands/` with its arguments and a function `run`, and a line in
//! [`arguments`].

pub mod arguments;
mod client;
mod commands;
mod connection;
pub mod failure;
mod format;
mod progress;
mod screen;
pub mod up;
mod waiting;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::arguments::Arguments;
use crate::failure::{Failure, FailureKind, report};

/// Does what the command line says and gives the exit code.
pub fn main() -> ExitCode {
    // Only one call in a process installs it; whoever was first chose the same.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("the TLS provider was installed before");
    }
    let matches = Arguments::command().get_matches();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(&matches)),
        Err(error) => {
            let message = format!("failed to start the threads of this program: {error}");
            Err(Failure::new(FailureKind::Failed, message))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            failure.exit_code()
        }
    }
}
