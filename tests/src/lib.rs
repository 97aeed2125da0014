//! The harness of the integration tests: real servers, started by the test that needs them on free
//! ports and in temporary directories, and gone when the test is.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

pub mod agent_server;
pub mod api_server;
pub mod command_line;
pub mod control_database;
pub mod documents;
pub mod object_server;
pub mod offset_clock;
pub mod postgres_server;
pub mod redis_server;
pub mod tcp_proxy;
pub mod world;

/// Changes one bit of the byte at `offset` of a file, as a bad disk does.
pub fn flip_bit(path: &Path, offset: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ 1], offset)
}
