//! The small certificate authority of the control plane, and mutual TLS with its certificates.
//!
//! Three kinds of certificates exist, and none passes for another:
//!
//! | holder | usage | name |
//! |---|---|---|
//! | agent of a server (and its PostgreSQL) | server; client of another PostgreSQL | DNS name from [`server_name`], IP addresses; common name from [`server_common_name`] |
//! | gateway | server only, for clients of databases | the host that URLs name |
//! | worker | client only | URI `spiffe://ringmaster/worker/<id>` |
//!
//! Certificates live for a day, backdated an hour for machines whose clock is late, and are renewed
//! for the key their holder already has, so that no private key ever travels twice. There is no
//! revocation: short lives take its place.

use chrono::TimeDelta;

use crate::ids::ServerId;

mod authority;
mod certificate;
pub mod stored;
mod tls;
mod workers_only;

pub use authority::CertificateAuthority;
pub use certificate::{CertificateFacts, Identity};
pub use tls::{HotIdentity, client_config, server_config};

/// How long certificates of agents, gateways and workers are valid.
pub const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// How far the beginning of validity lies before the moment of issue.
pub const BACKDATED: TimeDelta = TimeDelta::hours(1);

/// How a URI that names a worker begins.
pub const WORKER_URI_PREFIX: &str = "spiffe://ringmaster/worker/";

/// The DNS name in the certificate of a server's agent. It is never looked up: clients connect to
/// an address and check this name.
pub fn server_name(server: ServerId) -> String {
    format!("{server}.server.ringmaster.internal")
}

/// The server of such a name; null if it is another one.
pub fn server_of_name(name: &str) -> Option<ServerId> {
    let (server, _) = name.split_once('.')?;
    let server = server.parse().ok()?;
    (server_name(server) == name).then_some(server)
}

/// The common name in the same certificate: by it PostgreSQL knows a server that wants to stream.
pub fn server_common_name(server: ServerId) -> String {
    format!("server {server}")
}

/// Why a certificate could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The text is not a certificate.
    #[error("not a PEM certificate: {0}")]
    NotACertificate(String),
    /// The text is not a private key.
    #[error("not a PEM private key")]
    NotAKey,
    /// Certificate and private key do not belong together.
    #[error("the certificate is for another private key")]
    KeyMismatch,
    /// The certificate was not issued by the authority it must come from.
    #[error("the certificate was not issued by this certificate authority")]
    ForeignCertificate,
    /// A certificate could not be issued.
    #[error("failed to issue a certificate")]
    Issue(#[from] rcgen::Error),
    /// A TLS configuration could not be made.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
    /// No verifier could be made from the authority's certificate.
    #[error("failed to set up the verification of certificates: {0}")]
    Verifier(String),
}
