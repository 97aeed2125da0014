//! What can go wrong between us and Redis.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// A verb of the queue that failed. None is fatal to a worker: it backs off and goes on.
///
/// A verb that failed may still have happened in Redis, as with any call over a network: all verbs
/// can be repeated, and a repeated `settle` that answers *lost* is normal.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The configuration cannot work; repeating does not help.
    #[error("the queue is configured wrongly: {reason}")]
    InvalidConfig {
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// There is no connection to Redis, and none could be made.
    #[error("connect to Redis")]
    Unreachable {
        /// Why the last attempt failed.
        #[source]
        source: RedisError,
    },
    /// Redis refused the call, or the connection broke, or the answer took too long.
    #[error("run {verb} in Redis")]
    Redis {
        /// The verb.
        verb: &'static str,
        /// What the client reports.
        #[source]
        source: RedisError,
    },
    /// The answer does not have the shape that the script promises.
    #[error("read the answer of {verb}: {reason}")]
    BadReply {
        /// The verb.
        verb: &'static str,
        /// What was found, and what was expected.
        reason: String,
    },
}

impl QueueError {
    /// Whether the same call may well succeed a little later, without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::InvalidConfig { .. } | Self::BadReply { .. } => false,
            Self::Unreachable { source } | Self::Redis { source, .. } => passes_by(source),
        }
    }
}

/// Codes of Redis that the client library does not know and that describe a state, not a mistake.
const PASSING_CODES: [&str; 6] = [
    "OOM",
    "MISCONF",
    "BUSY",
    "NOREPLICAS",
    "UNKILLABLE",
    "FAILOVER",
];

fn passes_by(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel
        | ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::NoScript
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        ErrorKind::Extension => error
            .code()
            .is_some_and(|code| PASSING_CODES.contains(&code)),
        _ => false,
    }
}

/// Whether the connection that gave this error must not be used again.
///
/// A refused call leaves it whole. After a time-out it might answer again, but it might also lead
/// to a machine that is gone; and a server that became read-only is no longer the one to talk to.
pub(super) fn spoils_connection(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => {
            matches!(
                kind,
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown
            )
        }
        ErrorKind::Extension => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    fn io_error(kind: std::io::ErrorKind) -> RedisError {
        RedisError::from(std::io::Error::from(kind))
    }

    #[track_caller]
    fn check(source: RedisError, transient: bool, spoils: bool) {
        assert_eq!(spoils_connection(&source), spoils, "{source}");
        assert_eq!(
            QueueError::Redis {
                verb: "claim",
                source
            }
            .is_transient(),
            transient
        );
    }

    #[test]
    fn what_passes_by_is_told_from_what_stays() {
        check(
            server_error("LOADING Redis is loading the dataset in memory"),
            true,
            false,
        );
        check(
            server_error("OOM command not allowed when used memory > 'maxmemory'"),
            true,
            false,
        );
        check(
            server_error("BUSY Redis is busy running a script"),
            true,
            false,
        );
        check(
            server_error("MISCONF Errors writing to the AOF file"),
            true,
            false,
        );
        check(
            server_error("READONLY You can't write against a read only replica."),
            true,
            true,
        );
        check(
            server_error("MASTERDOWN Link with MASTER is down"),
            true,
            true,
        );
        check(server_error("ERR wrong number of arguments"), false, false);
        check(
            server_error("NOPERM this user has no permissions"),
            false,
            false,
        );
        check(
            server_error("WRONGTYPE Operation against a key"),
            false,
            false,
        );
        check(io_error(std::io::ErrorKind::ConnectionRefused), true, true);
        check(io_error(std::io::ErrorKind::TimedOut), true, true);
        check(io_error(std::io::ErrorKind::BrokenPipe), true, true);
    }

    #[test]
    fn configuration_and_shape_do_not_pass_by() {
        assert!(
            !QueueError::InvalidConfig {
                reason: "x".to_owned()
            }
            .is_transient()
        );
        assert!(
            !QueueError::BadReply {
                verb: "claim",
                reason: "x".to_owned()
            }
            .is_transient()
        );
    }
}
