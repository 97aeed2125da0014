//! Base backups, from PostgreSQL's files to the archive.

mod driver;
mod endings;
mod faults;
mod restored;
