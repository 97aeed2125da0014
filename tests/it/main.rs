//! Integration tests.

#[cfg(test)]
mod lua;
mod process;
#[cfg(test)]
mod ring;
