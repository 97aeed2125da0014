//! The gateway, with real bouncers, servers and clients.

mod clients;
mod conformance;
mod faults;
mod followers;
mod passwords;
mod traffic;
mod world;
