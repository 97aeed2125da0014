//! Followers: from the archive and by streaming, until they are promoted.

mod archive;
mod backups;
mod driver;
mod kills;
mod limits;
mod promotion;
mod streaming;
