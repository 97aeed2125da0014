//! The HTTP API: it checks a request, writes the intent in one transaction, wakes the queue, and
//! answers. It never waits for a server, a provider, or Redis.
//!
//! # Path of a request
//!
//! ```text
//! connection ─▶ request id, span, clock ─▶ filter of one endpoint ─▶ handler ─▶ metrics, log line
//!   (server)          (watch)               (endpoints/*, call)       parse → authorise → one
//!                                                                     call of shared::db → DTO
//! ```
//!
//! # Guarantees
//!
//! - A request that is refused changed nothing, and says what to do (RFC 9457).
//! - A token that is revoked is refused by this process at once and by others within
//!   [`config::LimitOptions::token_cache_ms`]; one that expires is refused on the dot.
//! - Without Redis everything but `/v1/ring` works: the wake that is lost is made up for by the
//!   audit of the workers. Without the control database nothing works, and `/readyz` says so.
//! - Nothing secret is logged. Answers below `/v1` are not to be stored by caches.
//!
//! # What it does not do
//!
//! No TLS of its own yet: listen on loopback or behind something that has it.
//!
//! A new endpoint is a new file in `endpoints/` that looks like its neighbours, a line in
//! `routes` and one in [`openapi`]; tests fail until it has a test of its authorisation.

mod allow;
mod answer;
mod app;
mod call;
pub mod config;
mod connection;
mod endpoints;
mod failure;
mod limiter;
pub mod openapi;
mod routes;
mod server;
mod tokens;
mod wakes;
mod watch;

pub use app::{App, AppParts};
pub use server::{ServeError, Server};
