//! What can go wrong with the control database, and whether trying again may help.

use sqlx::postgres::PgQueryResult;

/// A statement of ours that the control database did not carry out.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The connection, the server or the statement failed.
    #[error("failed to {action}")]
    Query {
        /// What we were doing, in the infinitive.
        action: &'static str,
        /// What the driver says.
        #[source]
        source: sqlx::Error,
    },
    /// A constraint of the model refused the write, so nothing was written.
    #[error("failed to {action}: the control database refused it ({constraint})")]
    Refused {
        /// What we were doing, in the infinitive.
        action: &'static str,
        /// Name of the constraint or unique index.
        constraint: String,
        /// What the driver says.
        #[source]
        source: sqlx::Error,
    },
    /// Somebody else wrote the row since it was read (or it is gone), so nothing was written.
    #[error("failed to {action}: the row changed since it was read")]
    Stale {
        /// What we were doing, in the infinitive.
        action: &'static str,
    },
    /// A stored value cannot be read as what it should be.
    #[error("failed to {action}: the stored value of {column} is not valid")]
    Malformed {
        /// What we were doing, in the infinitive.
        action: &'static str,
        /// Table and column.
        column: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tables could not be brought up to date.
    #[error("failed to migrate the control database")]
    Migrate {
        /// What the migrator says.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

impl DbError {
    /// Turns the driver's error into ours; `action` says what we were doing, in the infinitive.
    pub fn during(action: &'static str) -> impl Fn(sqlx::Error) -> Self + Copy {
        move |source| match constraint_of(&source) {
            Some(constraint) => Self::Refused {
                action,
                constraint,
                source,
            },
            None => Self::Query { action, source },
        }
    }

    /// The constraint that refused the write; none for every other error.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Refused { constraint, .. } => Some(constraint),
            Self::Query { .. }
            | Self::Stale { .. }
            | Self::Malformed { .. }
            | Self::Migrate { .. } => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything: the database is
    /// away, restarting, overloaded, or two transactions collided.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Query { source, .. } => is_transient(source),
            Self::Stale { .. } => true,
            Self::Refused { .. } | Self::Malformed { .. } => false,
            Self::Migrate { source } => match source {
                sqlx::migrate::MigrateError::Execute(source)
                | sqlx::migrate::MigrateError::ExecuteMigration(source, _) => is_transient(source),
                _ => false,
            },
        }
    }
}

/// Requires that a compare-and-set wrote exactly one row.
///
/// # Errors
/// [`DbError::Stale`] if it wrote none.
///
/// # Panics
/// If it wrote more than one: the condition of the caller does not name one row.
pub fn affect_one(action: &'static str, result: &PgQueryResult) -> Result<(), DbError> {
    assert!(
        result.rows_affected() <= 1,
        "{action} wrote more than one row"
    );
    if result.rows_affected() == 1 {
        Ok(())
    } else {
        Err(DbError::Stale { action })
    }
}

fn constraint_of(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    // Class 23 is "integrity constraint violation".
    let violates = error.code().is_some_and(|code| code.starts_with("23"));
    violates.then(|| error.constraint().unwrap_or("unnamed").to_owned())
}

fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_transient_state(&code)),
        _ => false,
    }
}

/// Which SQLSTATEs pass by themselves
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn is_transient_state(code: &str) -> bool {
    match code {
        // Read-only: the connection goes to a former leader. Lock not available: lock_timeout.
        "25006" | "55P03" => true,
        // Connection, rollback (deadlock, serialization), resources, operator (shutdown, start,
        // cancel by statement_timeout), system.
        _ => ["08", "40", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, transient: bool) {
        assert_eq!(is_transient_state(code), transient, "{code}");
    }

    #[test]
    fn a_state_is_transient_if_waiting_helps() {
        check("08006", true);
        check("40001", true);
        check("40P01", true);
        check("53300", true);
        check("55P03", true);
        check("57014", true);
        check("57P03", true);
        check("25006", true);
        check("23505", false);
        check("42703", false);
        check("28P01", false);
        check("22P02", false);
    }

    #[test]
    fn an_absent_database_is_transient() {
        let failed = DbError::during("look");
        assert!(failed(sqlx::Error::PoolTimedOut).is_transient());
        assert!(failed(sqlx::Error::Io(std::io::Error::other("reset"))).is_transient());
        assert!(!failed(sqlx::Error::RowNotFound).is_transient());
        assert!(DbError::Stale { action: "write" }.is_transient());
    }
}
