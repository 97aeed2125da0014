//! The gateway: see the library.

use std::process::ExitCode;
use std::sync::Arc;

use shared::clock::SystemClock;

fn main() -> ExitCode {
    gateway::service::main(Arc::new(SystemClock))
}
