//! The vocabulary and the boundaries of Ringmaster: everything that more than one process needs.
//!
//! Each boundary lives in exactly one module: SQL of the control database in [`db`], Redis in
//! [`queue`], S3 in [`archive`], decisions (without I/O, clock or async) in [`machine`], the outside
//! world behind the traits of [`ports`]. `docs/decisions/` says why.

pub mod agent_api;
pub mod archive;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
#[cfg(feature = "fakes")]
pub mod fakes;
pub mod http_api;
pub mod ids;
pub mod machine;
pub mod pki;
pub mod ports;
pub mod process;
pub mod queue;
pub mod secret;
pub mod telemetry;
pub mod units;
