//! The brains: workers that turn every member of the rings.

pub mod observe;
pub mod ring;
