//! All SQL of the control database: one module per table or join, free functions over an executor,
//! so that the caller owns the transaction.
//!
//! Guarantees: every query is checked against the migrations when it is compiled (descriptions in
//! `shared/.sqlx`, written by `scripts/prepare-queries`); time and ids are parameters; lists are
//! paginated by key with a hard limit ([`Limit`]); deletes are batched; what is not there is
//! `Ok(None)`, and a broken constraint is a typed error of the function that broke it.
//!
//! A new table is a new module that looks like its neighbours.

pub mod alerts;
pub mod archive;
pub mod audit;
pub mod connect;
pub mod control_secrets;
mod error;
pub mod gateways;
pub mod idempotency;
pub mod jobs;
pub mod observations;
pub mod operations;
mod page;
pub mod plans;
pub mod resources;
pub mod ring_epochs;
pub mod routes;
pub mod servers;
pub mod time;
pub mod tokens;
pub mod transitions;

pub use connect::{ConnectOptions, connect, migrate};
pub use error::{DbError, affect_one};
pub use page::{Limit, Page};
pub mod fleet;
