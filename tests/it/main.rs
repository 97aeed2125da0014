//! Integration tests.

#[cfg(test)]
mod lua;
#[cfg(test)]
mod machines;
mod process;
mod ring;
