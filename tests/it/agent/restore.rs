//! Restores, from the archive to a database of its own.

mod crashes;
mod damage;
mod driver;
mod faults;
mod promotions;
mod targets;
