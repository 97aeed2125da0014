//! The HTTP API over real HTTP, on a real PostgreSQL and a real Redis.

mod backups;
mod bad_input;
mod creates;
mod credentials;
mod followers;
mod forks;
mod limits;
mod lists;
mod openapi;
mod operators;
mod outages;
mod requests;
mod resources;
mod restore_checks;
mod routes_covered;
mod tokens;
mod world;
