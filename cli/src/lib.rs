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

pub use commands::run;
