//! The archive's store: the port over every adapter, and the embedded object store under it.

mod conformance;
mod outages;
mod signed;
