//! A connection to a customer's server that nothing of the customer can reach into.
//!
//! Everything that a session could inherit from `alter database … set` or `alter role … set` and
//! that would harm us is given in the startup packet, which wins over both. What is looked at is
//! read in read-only transactions, so that an idle database stays idle.
//!
//! The session is polled only while a statement runs, by the task that runs it: a kept session
//! costs no task and no wake-up. A session whose statement was abandoned is never used again: the
//! caller takes it out of the slot for as long as it works with it.

use std::pin::pin;

use futures::future::{Either, select};
use shared::agent_api::PROBER_ROLE;
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Connection, Statement};

use super::failure::Failure;
use super::look::{Look, Survey};
use super::tls::{TlsStream, Upgrade};
use super::{Target, metrics};

const FEEL: &str = include_str!("feel.sql");
const SURVEY: &str = include_str!("survey.sql");

/// Settings of every session, beside the timeouts. `pg_temp` is named so that it comes last: left
/// out, it would come first.
const PINNED: &[(&str, &str)] = &[
    ("search_path", SEARCH_PATH),
    ("role", "none"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "read\\ committed"),
    ("client_min_messages", "error"),
    ("idle_session_timeout", "0"),
    // One plan for the life of the session, made without parallel workers and compilation.
    ("plan_cache_mode", "force_generic_plan"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    // No copy of the statistics for each look.
    ("stats_fetch_consistency", "none"),
];

/// Settings that are the deadline of a look: what it gives up, PostgreSQL gives up too.
const TIMEOUTS: &[&str] = &[
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
];

const SEARCH_PATH: &str = "pg_catalog,pg_temp";

/// One connection, with the statements it has prepared.
pub(super) struct Session {
    client: Client,
    connection: Connection<TcpStream, TlsStream>,
    feel: Statement,
    survey: Option<Statement>,
    /// Counts this session among the open ones.
    _open: metrics::OpenSession,
}

impl Session {
    /// Connects to `database` on the server of `target`.
    ///
    /// # Errors
    /// Whatever kept it from being opened; there is no deadline here.
    pub(super) async fn open(
        target: &Target,
        database: &str,
        timeout_ms: u64,
        purpose: metrics::Purpose,
    ) -> Result<Self, Failure> {
        let upgrade = Upgrade::to(target)?;
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(Failure::Connect)?;
        // Each statement is one small packet: it must not wait for a second one.
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let (client, mut connection) = config(target, database, timeout_ms)
            .connect_raw(stream, upgrade)
            .await
            .map_err(Failure::to("log in"))?;
        let open = metrics::OpenSession::count(purpose);
        prove_pinned(&client, &mut connection).await?;
        let feel = drive(&mut connection, client.prepare(FEEL))
            .await
            .map_err(Failure::to("prepare a look"))?;
        Ok(Self {
            client,
            connection,
            feel,
            survey: None,
            _open: open,
        })
    }

    /// Looks at a database of this server: one round trip.
    ///
    /// # Errors
    /// When the session failed, or when the database or role is not usable.
    pub(super) async fn look(&mut self, database: &str, role: &str) -> Result<Look, Failure> {
        let row = drive(
            &mut self.connection,
            self.client.query_opt(&self.feel, &[&database, &role]),
        )
        .await
        .map_err(Failure::to("look"))?;
        Look::read(&row.ok_or(Failure::DatabaseMissing)?)
    }

    /// Counts what is in the database of this session, and measures it if `size`.
    ///
    /// # Errors
    /// When the session failed, or when it took too long.
    pub(super) async fn survey(&mut self, size: bool) -> Result<Survey, Failure> {
        let statement = if let Some(statement) = &self.survey {
            statement.clone()
        } else {
            let statement = drive(&mut self.connection, self.client.prepare(SURVEY))
                .await
                .map_err(Failure::to("prepare a survey"))?;
            self.survey.insert(statement).clone()
        };
        let row = drive(
            &mut self.connection,
            self.client.query_one(&statement, &[&size]),
        )
        .await
        .map_err(Failure::to("survey"))?;
        Survey::read(&row)
    }

    /// Takes leave, so that the server does not log a lost connection. How that ends is of no
    /// interest.
    pub(super) async fn close(self) {
        let Self {
            client, connection, ..
        } = self;
        drop(client);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a session of feel had ended before it was closed");
        }
    }
}

fn config(target: &Target, database: &str, timeout_ms: u64) -> Config {
    let timeout = timeout_ms.to_string();
    let limited = TIMEOUTS.iter().map(|name| (*name, timeout.as_str()));
    let options: Vec<String> = PINNED
        .iter()
        .copied()
        .chain(limited)
        .map(|(name, value)| format!("-c {name}={value}"))
        .collect();
    let mut config = Config::new();
    config
        .user(PROBER_ROLE)
        .password(target.prober_password.expose())
        .dbname(database)
        .application_name("ringmaster-feel")
        .options(options.join(" "))
        .ssl_mode(SslMode::Require);
    config
}

/// Something between us and PostgreSQL could swallow the settings: then nothing else may run.
async fn prove_pinned(
    client: &Client,
    connection: &mut Connection<TcpStream, TlsStream>,
) -> Result<(), Failure> {
    // Not known to 15 and 16, so it cannot be in the startup packet.
    let limits_transactions = connection
        .parameter("server_version")
        .and_then(|version| {
            version
                .split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .is_some_and(|major: u16| major >= 17);
    if limits_transactions {
        drive(
            connection,
            client.batch_execute("set transaction_timeout = 0"),
        )
        .await
        .map_err(Failure::to("set up the session"))?;
    }
    let path: String = drive(
        connection,
        client.query_one("select pg_catalog.current_setting('search_path')", &[]),
    )
    .await
    .and_then(|row| row.try_get(0))
    .map_err(Failure::to("read the settings of the session"))?;
    if path == SEARCH_PATH {
        Ok(())
    } else {
        Err(Failure::Unpinned(path))
    }
}

/// Moves the connection along until `work` is done with it.
async fn drive<T>(
    connection: &mut Connection<TcpStream, TlsStream>,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    let mut work = pin!(work);
    match select(work.as_mut(), connection).await {
        Either::Left((done, _)) => done,
        Either::Right((Err(error), _)) => Err(error),
        // The connection has ended without an error: the work learns it as "closed".
        Either::Right((Ok(()), work)) => work.await,
    }
}
