//! Integration tests.

#[cfg(test)]
mod db;
#[cfg(test)]
mod lua;
mod process;
mod ring;
