//! The worker: see the library.

use std::process::ExitCode;
use std::sync::Arc;

use mimalloc::MiMalloc;
use shared::clock::SystemClock;

/// A turn allocates some hundred small things and frees them on the same thread.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    workers::service::main(Arc::new(SystemClock))
}
