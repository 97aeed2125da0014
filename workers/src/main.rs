//! The worker: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    workers::service::main()
}
