//! How a process gets to the control database, and how its tables get there.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::db::DbError;
use crate::secret::Secret;

/// Every migration, inside the binary.
static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// A kept connection that was idle for longer is probed before it is used again: a database that
/// was restarted meanwhile costs no request, and a busy pool pays no extra round trip.
const PROBE_AFTER_IDLE: Duration = Duration::from_secs(1);

/// What a pool of connections to the control database promises.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Who connects, as `pg_stat_activity` shows it.
    pub application_name: String,
    /// Most connections this process holds. Default 10.
    pub max_connections: u32,
    /// Longest wait for a free connection. Default 5 s.
    pub acquire_timeout: Duration,
    /// Longest time a statement may run before the database cancels it. Default 10 s.
    pub statement_timeout: Duration,
    /// Longest time a statement may wait for a lock. Default 5 s.
    pub lock_timeout: Duration,
}

impl ConnectOptions {
    /// The defaults, for the process `application_name`.
    pub fn of(application_name: impl Into<String>) -> Self {
        Self {
            application_name: application_name.into(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
        }
    }
}

/// A pool of connections to the control database at `url`; at least one works when it is given.
///
/// # Errors
/// [`DbError`] if `url` is not one, or if nobody answers there within the acquire timeout.
pub async fn connect(url: &Secret, options: &ConnectOptions) -> Result<PgPool, DbError> {
    let failed = DbError::during("connect to the control database");
    let target = PgConnectOptions::from_str(url.expose())
        .map_err(&failed)?
        .application_name(&options.application_name)
        .options([
            ("statement_timeout", milliseconds(options.statement_timeout)),
            ("lock_timeout", milliseconds(options.lock_timeout)),
            // Nobody holds a transaction open while it talks to the outside world.
            (
                "idle_in_transaction_session_timeout",
                milliseconds(Duration::from_mins(1)),
            ),
        ]);
    PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > PROBE_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(target)
        .await
        .map_err(failed)
}

/// Brings the control database to the newest migration. Any number of processes may try at once:
/// one of them does it, under an advisory lock. Does nothing when nothing is missing.
///
/// # Errors
/// [`DbError::Migrate`] if a migration fails, or if the database knows a migration that this
/// program does not (it is newer than the program).
pub async fn migrate(pool: &PgPool) -> Result<(), DbError> {
    MIGRATIONS
        .run(pool)
        .await
        .map_err(|source| DbError::Migrate { source })
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}
