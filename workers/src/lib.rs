//! Stub.
pub mod ring;
