//! Integration tests.

#[cfg(test)]
mod lua;
mod process;
mod ring;
