//! The agent as a process, with real PostgreSQL, over real TLS.

mod catalog;
mod crash;
mod instructions;
mod lifetime;
mod settings;
mod trust;
mod wal_push;
