//! Base backups, from PostgreSQL's files to the archive.

pub(super) mod driver;
mod endings;
mod faults;
mod restored;
