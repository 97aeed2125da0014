//! The worker, built with the tests, so that they can start and kill it as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    workers::service::main()
}
