//! The embedded object store: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    object_store::main()
}
