//! WAL, from the segment files to the archive.

mod faults;
mod places;
mod recovery;
mod refusals;
mod seam;
mod slot;
