//! The brains: workers that turn every member of the rings.
//!
//! - [`ring`]: claims members, turns them, settles them;
//! - [`turns`]: what a turn of a resource, a server or a job is: load, look, decide, one step,
//!   record;
//! - [`steps`]: what a machine can ask for, one idempotent action per file;
//! - [`cloud`], [`endpoint`]: adapters of the outside world;
//! - [`control_clock`]: the time that all workers agree on;
//! - [`sweeps`]: what nobody asked for: audit of the queue, housekeeping;
//! - [`service`]: all of it put together into a process.
//!
//! Workers hold no data and keep nothing that matters in memory.

pub mod cloud;
pub mod context;
pub mod control_clock;
pub mod endpoint;
pub mod observe;
pub mod ring;
pub mod service;
pub mod steps;
pub mod sweeps;
pub mod turns;
