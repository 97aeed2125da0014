//! Stub.
pub mod observe;
pub mod ring;
