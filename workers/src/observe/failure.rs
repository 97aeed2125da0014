//! Why a look failed, and what that says about the service.

use std::error::Error as _;
use std::io;

use shared::domain::Outage;
use tokio_postgres::error::SqlState;

use super::tls::TlsError;

/// A look that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The deadline passed.
    #[error("no answer within the deadline")]
    Deadline,
    /// No TCP connection.
    #[error("failed to connect to the server")]
    Connect(#[source] io::Error),
    /// TLS cannot be set up.
    #[error("failed to set up TLS")]
    Tls(#[from] TlsError),
    /// PostgreSQL, or the connection to it, failed.
    #[error("failed to {doing}")]
    Postgres {
        /// What was being done, in the present tense.
        doing: &'static str,
        /// How it failed.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The session does not have the settings it was started with.
    #[error("the session's search_path is {0:?}")]
    Unpinned(String),
    /// The database does not exist.
    #[error("the database is missing")]
    DatabaseMissing,
    /// The database admits nobody.
    #[error("the database does not allow connections")]
    DatabaseClosed,
    /// The customer's role does not exist or may not log in.
    #[error("the role of the customer is missing")]
    RoleMissing,
}

impl Failure {
    /// For [`Result::map_err`]: what was being done.
    pub(super) fn to(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Postgres { doing, source }
    }

    /// Whether another connection could show something else: a connection that was kept may have
    /// ended long ago.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => source.code() != Some(&SqlState::QUERY_CANCELED),
            Self::Connect(_) | Self::Tls(_) | Self::Unpinned(_) => true,
            Self::Deadline | Self::DatabaseMissing | Self::DatabaseClosed | Self::RoleMissing => {
                false
            }
        }
    }

    /// Whether this is about one database, not about the server.
    pub(super) fn is_of_database(&self) -> bool {
        matches!(
            self,
            Self::DatabaseMissing | Self::DatabaseClosed | Self::RoleMissing
        )
    }

    /// Whether the session is between two statements, so that it can be used again.
    pub(super) fn leaves_session_usable(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => source.code() == Some(&SqlState::QUERY_CANCELED),
            failure => failure.is_of_database(),
        }
    }

    /// What this says about the service.
    pub(super) fn outage(&self) -> Outage {
        match self {
            Self::Deadline => Outage::TimedOut,
            Self::Connect(error) => outage_of_io(error),
            Self::Postgres { source, .. } => outage_of_postgres(source),
            Self::Tls(_)
            | Self::Unpinned(_)
            | Self::DatabaseMissing
            | Self::DatabaseClosed
            | Self::RoleMissing => Outage::Broken,
        }
    }
}

/// A server that says no at once is told from one that cannot be reached.
fn outage_of_io(error: &io::Error) -> Outage {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => Outage::Refused,
        // How rustls reports an alert or a certificate it does not accept.
        io::ErrorKind::InvalidData => Outage::Broken,
        _ => Outage::TimedOut,
    }
}

fn outage_of_postgres(error: &tokio_postgres::Error) -> Outage {
    if let Some(code) = error.code() {
        return outage_of_code(code);
    }
    if error.is_closed() {
        return Outage::Refused;
    }
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(io) => outage_of_io(io),
        None => Outage::Broken,
    }
}

fn outage_of_code(code: &SqlState) -> Outage {
    let refused = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        // Even the reserved connections are in use: nobody gets in.
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    let timed_out = [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE];
    if refused.contains(code) {
        Outage::Refused
    } else if timed_out.contains(code) {
        Outage::TimedOut
    } else {
        Outage::Broken
    }
}

#[cfg(test)]
mod tests;
