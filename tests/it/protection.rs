//! Continuous protection as a whole: what a customer writes is in the archive, whatever breaks.

mod conflicts;
mod outages;
mod pushes;
mod races;
mod world;
