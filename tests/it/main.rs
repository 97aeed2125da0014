//! Integration tests.

mod lua;
