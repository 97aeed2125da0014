//! Followers: from the archive and by streaming, until they are promoted.

mod archive;
mod driver;
mod kills;
mod limits;
mod promotion;
mod streaming;
