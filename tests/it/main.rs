//! Integration tests.

#[cfg(test)]
mod db;
#[cfg(test)]
mod lua;
mod process;
#[cfg(test)]
mod ring;
