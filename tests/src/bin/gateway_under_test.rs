//! The gateway, built with the tests, so that they can start and kill it as a process, on a machine
//! whose clock is wrong if they like.

use std::process::ExitCode;
use std::sync::Arc;

use tests::offset_clock::OffsetClock;

fn main() -> ExitCode {
    gateway::service::main(Arc::new(OffsetClock::from_environment()))
}
