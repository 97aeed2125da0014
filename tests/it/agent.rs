//! The agent as a process, with real PostgreSQL, over real TLS.

mod archiving;
mod backup;
mod catalog;
mod check;
mod crash;
mod follower;
mod instructions;
mod lifetime;
mod recovering;
pub(crate) mod restore;
mod settings;
mod trust;
mod wal_push;
