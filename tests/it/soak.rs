//! Long tests of protection: real PostgreSQL, real workers and agents, an object store whose faults
//! are real requests that fail, and a load of which every commit is known.
//!
//! Each is short in `make test`, and long in `make soak`: `length` says how long. Whatever is left
//! to chance – what is written, what breaks and when, what is restored – comes from a seed that is
//! printed and can be given; what processes do at the same time does not, so that a seed makes a
//! failure likely again, not certain. To add one: a file with a test, and its name here.

mod alerts;
mod away;
mod kills;
mod ledger;
mod length;
mod load;
mod moments;
mod restored;
mod retention;
mod segments;

use crate::protection::forks::capture;
use crate::protection::world::Protected;
use load::make_tables;

/// A database that is archived and has its first backup: from here on every moment can be restored.
async fn restorable() -> anyhow::Result<Protected> {
    let protected = Protected::start().await?;
    make_tables(&protected).await?;
    protected.until_epoch("begun", |_| true).await?;
    capture(&protected, protected.id).await?;
    Ok(protected)
}
