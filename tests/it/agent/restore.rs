//! Restores, from the archive to a database of its own.

mod by_hand;
mod crashes;
mod damage;
pub(super) mod driver;
mod faults;
mod names;
pub(super) mod promotions;
pub(crate) mod segments;
mod targets;
