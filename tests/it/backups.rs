//! Base backups as a whole: made, followed, interrupted at every step, listed, and deleted.
//!
//! Servers are made by a real worker that knows no archive; the turns of backups are taken one at a
//! time in this process, so that each can be stopped at every border, and the time that is stored is
//! a clock that jumps.

mod cuts;
mod faults;
mod life;
mod proofs;
mod push_cuts;
mod retention;
pub(crate) mod world;
