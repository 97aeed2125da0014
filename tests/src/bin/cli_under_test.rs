//! The program `ringmaster`, built with the tests so that they run the newest one.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
