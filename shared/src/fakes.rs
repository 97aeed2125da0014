//! Little real implementations of the [`ports`](crate::ports), in memory: for tests only, behind the
//! cargo feature `fakes`.
//!
//! Each has a core without async ([`Machines`], [`Routes`]), which simulations take with keys and
//! addresses of their own, and the port on top of it. What a fake and a real adapter must have in
//! common is held by one suite of tests for both (`tests/it/conformance`).

mod endpoint;
mod provider;

pub use endpoint::{FakeEndpoint, RefusedWord, Routes};
pub use provider::{FakeProvider, Machines};
