//! The agent of a server: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::main()
}
