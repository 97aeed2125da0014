//! Integration tests.

#[cfg(test)]
mod agent;
mod api;
#[cfg(test)]
mod db;
#[cfg(test)]
mod lua;
#[cfg(test)]
mod machines;
mod observe;
mod process;
#[cfg(test)]
mod ring;
#[cfg(test)]
mod tidy;
