//! `ringmaster up`: the whole system on this machine, from one command.
//!
//! ```text
//! ringmaster up
//! ├── PostgreSQL           the control database
//! ├── redis-server         the queue
//! ├── ringmaster-object-store   the archive
//! ├── ringmaster-api
//! ├── ringmaster-gateway        what clients connect to: two PgBouncers
//! └── ringmaster-worker
//!     └── ringmaster-agent …   one for each server, and below it a customer's PostgreSQL
//! ```
//!
//! Everything is under one directory (`.ringmaster/`): keys, data, logs, and the ports, which are
//! free ones chosen the first time and kept since. Guarantees:
//!
//! - One `up` for a directory at a time (`lock`).
//! - Run again, it finds its state again; anything that was left half done is done.
//! - A child that dies is started again, with a growing pause (`supervisor`).
//! - When `up` ends, however it ends, its children end; told to end, it ends them in good order.
//! - Nothing is shared with services that already run on the machine.
//!
//! Deliberately not here: anything a fleet on several machines needs. Those run the same processes
//! under systemd or Kubernetes.

mod announce;
mod child;
mod control_plane;
mod directory;
mod engines;
mod leftovers;
mod lifecycle;
mod lock;
mod log_files;
mod remote;
mod state;
mod supervisor;
mod token;

pub use directory::Directory;
pub use lifecycle::{UpOptions, run};
pub use remote::{StatusReport, detach, down, status};
