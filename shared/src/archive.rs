//! The archive: every committed byte of every timeline, as objects in an S3.
//!
//! It is append-only: one content per name, written conditionally. What is where is in [`layout`],
//! what an object looks like in [`frame`]: plain zstd behind a frame of metadata that `zstd -d`
//! skips, so that a database can be restored by hand with nothing of ours.
//!
//! WAL is a chain: the object at a position carries its end inside, and the next begins there. A
//! second writer of one chain therefore collides with the first, and how far a chain reaches can be
//! rebuilt by walking it.

pub mod chain;
pub mod epoch;
pub mod frame;
pub mod layout;
pub mod manifest;
pub mod plan;
pub mod proving;
pub mod reads;
pub mod records;
pub mod retention;
pub mod schedule;
pub mod sentinel;
pub mod store;
pub mod verdict;
pub mod way;
pub mod window;

use std::time::Duration;

/// How long a signed request is good for: long enough for a push on a busy machine whose clock is a
/// little off, short enough that what a retired leader holds is soon worthless.
pub const SIGNED_FOR: Duration = Duration::from_mins(15);
