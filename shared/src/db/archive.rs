//! What the control database knows of the archive: epochs with their watermarks, gaps, and who is
//! behind.
//!
//! The watermark of an epoch only moves by compare-and-set ([`advance`], [`record_gap`]), only
//! forward, and not at all once the epoch is sealed.

mod advance;
mod asked;
mod behind;
mod epochs;
mod protection;
mod push;

pub use advance::{Position, Progress, advance, record_gap};
pub use asked::{ask_for_pushes, ask_to_push};
pub use behind::{Behind, Lagging, lagging, note_who_is_behind, settle_ended, whole_again};
pub use epochs::{Epoch, Retry, begin_epoch, current_epoch, seal_epoch};
pub use protection::{Gap, Protection, protection_of};
pub use push::{Leader, PushRow, load_push};

use crate::units::Lsn;

/// A position as it is stored: PostgreSQL's own end of WAL is beyond any that was ever reached.
fn stored(lsn: Lsn) -> i64 {
    i64::try_from(lsn.bytes()).unwrap_or(i64::MAX)
}

/// A stored position.
fn lsn(stored: i64) -> Lsn {
    Lsn::from_bytes(stored.unsigned_abs())
}
