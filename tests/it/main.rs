//! Integration tests: everything with a database, a Redis, an agent or a network.

#[cfg(test)]
mod agent;
#[cfg(test)]
mod api;
#[cfg(test)]
mod archive;
#[cfg(test)]
mod backups;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod db;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod lua;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod observe;
mod process;
#[cfg(test)]
mod protection;
#[cfg(test)]
mod ring;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod tidy;
