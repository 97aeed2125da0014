//! Integration tests.

#[cfg(test)]
mod lua;
