//! Integration tests.

mod lua;
mod process;
