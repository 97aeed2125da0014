//! Continuous protection as a whole: what a customer writes is in the archive, whatever breaks.

mod backups;
mod compaction;
mod conflicts;
mod cuts;
mod diverged;
mod follower_backups;
mod followers;
pub(crate) mod forks;
mod full_disk;
mod lost_slot;
mod outages;
mod parents;
mod proofs;
mod pushes;
mod put_back;
mod races;
mod transfers;
pub(crate) mod world;
