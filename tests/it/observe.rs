//! Feeling real PostgreSQL servers over TLS.

mod absence;
mod fields;
mod hostile;
mod recorded;
mod shared_server;
mod upkeep;
mod world;
