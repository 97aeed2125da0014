//! `PgBouncer`'s console: orders, and looks at what is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::secret::Secret;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::ini::{CONSOLE_ROLE, Entry, MARK};

/// Name of the database that is the console.
const CONSOLE: &str = "pgbouncer";

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest time to wait for clients to leave a database that is paused: the order is given at once,
/// and whether they left is seen by later looks.
const PAUSE_PATIENCE: Duration = Duration::from_millis(50);

/// The console could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsoleError {
    #[error("the console of PgBouncer does not answer {order:?}")]
    Failed {
        order: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("the console of PgBouncer cannot be reached at {}", socket.display())]
    Unreachable {
        socket: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the console of PgBouncer did not answer {order:?} within {PATIENCE:?}")]
    Late { order: String },
    #[error("the console of PgBouncer answers {order:?} without a usable {column:?}")]
    Malformed { order: String, column: &'static str },
}

impl ConsoleError {
    /// Whether the process is there and does not answer.
    pub(crate) const fn is_late(&self) -> bool {
        matches!(self, Self::Late { .. })
    }
}

/// A database as the console shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub entry: Entry,
    pub paused: bool,
    /// Connections to its server.
    pub connections: u32,
}

/// A connection of the process to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerConnection {
    /// Name of the database as clients know it.
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// Clients and server connections, over all databases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub clients_active: u32,
    pub clients_waiting: u32,
    pub servers: u32,
}

/// Connections to the console, made when they are needed.
#[derive(Debug)]
pub(crate) struct Console {
    config: Config,
    socket: PathBuf,
    link: Option<Link>,
}

impl Console {
    /// The console behind the socket in `directory`.
    pub(crate) fn new(directory: &Path, port: u16, password: &Secret) -> Self {
        let mut config = Config::new();
        config
            .user(CONSOLE_ROLE)
            .password(password.expose())
            .dbname(CONSOLE);
        Self {
            config,
            socket: directory.join(format!(".s.PGSQL.{port}")),
            link: None,
        }
    }

    /// Whether it answers.
    pub(crate) async fn ping(&mut self) -> Result<(), ConsoleError> {
        self.ask("SHOW VERSION").await.map(drop)
    }

    /// Has its files read anew. Mistakes in them are not answered: look at what is shown then.
    pub(crate) async fn reload(&mut self) -> Result<(), ConsoleError> {
        self.ask("RELOAD").await.map(drop)
    }

    /// Lets clients of a database through.
    pub(crate) async fn resume(&mut self, name: &str) -> Result<(), ConsoleError> {
        self.ask(&format!("RESUME {name}")).await.map(drop)
    }

    /// Cuts every client of a database off; new ones wait.
    pub(crate) async fn kill(&mut self, name: &str) -> Result<(), ConsoleError> {
        self.ask(&format!("KILL {name}")).await.map(drop)
    }

    /// Lets nobody begin anything at a database. Who is busy there is not waited for.
    pub(crate) async fn pause(&self, name: &str) -> Result<(), ConsoleError> {
        let order = format!("PAUSE {name}");
        let link = self.connect(&order).await?;
        match timeout(PAUSE_PATIENCE, link.client.simple_query(&order)).await {
            Err(_) => Ok(()),
            Ok(answer) => answer
                .map(drop)
                .map_err(|source| ConsoleError::Failed { order, source }),
        }
    }

    /// Every database, but for the console.
    pub(crate) async fn databases(&mut self) -> Result<BTreeMap<String, Shown>, ConsoleError> {
        let order = "SHOW DATABASES";
        let rows = self.ask(order).await?;
        let rows = rows.iter().map(|row| Row { order, row });
        let shown = rows.map(|row| {
            Ok((
                row.text("name"),
                Shown {
                    entry: Entry {
                        host: row.text("host"),
                        port: row.number("port")?,
                        database: row.text("database"),
                        pool_size: row.number("pool_size")?,
                    },
                    paused: row.number::<u8>("paused")? != 0,
                    connections: row.number("current_connections")?,
                },
            ))
        });
        let shown: Result<BTreeMap<_, _>, _> = shown.collect();
        shown.map(|mut shown| {
            shown.remove(CONSOLE);
            shown
        })
    }

    /// The mark of the files that it has read last; empty before the first.
    pub(crate) async fn mark(&mut self) -> Result<String, ConsoleError> {
        let order = "SHOW CONFIG";
        let rows = self.ask(order).await?;
        let mut rows = rows.iter().map(|row| Row { order, row });
        let found = rows.find(|row| row.text("key") == MARK);
        Ok(found.map(|row| row.text("value")).unwrap_or_default())
    }

    /// Every connection to a server, those that are being made too.
    pub(crate) async fn servers(&mut self) -> Result<Vec<ServerConnection>, ConsoleError> {
        let order = "SHOW SERVERS";
        let rows = self.ask(order).await?;
        let rows = rows.iter().map(|row| Row { order, row });
        rows.map(|row| {
            Ok(ServerConnection {
                name: row.text("database"),
                host: row.text("addr"),
                port: row.number("port")?,
            })
        })
        .collect()
    }

    /// How much there is to do.
    pub(crate) async fn load(&mut self) -> Result<Load, ConsoleError> {
        let order = "SHOW POOLS";
        let rows = self.ask(order).await?;
        let mut load = Load::default();
        for row in rows.iter().map(|row| Row { order, row }) {
            if row.text("database") == CONSOLE {
                continue;
            }
            load.clients_active += row.number::<u32>("cl_active")?;
            load.clients_waiting += row.number::<u32>("cl_waiting")?;
            for state in ["sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"] {
                load.servers += row.number::<u32>(state)?;
            }
        }
        Ok(load)
    }

    async fn ask(&mut self, order: &str) -> Result<Vec<SimpleQueryRow>, ConsoleError> {
        let link = self.link.take().filter(|link| !link.client.is_closed());
        let link = match link {
            Some(link) => link,
            None => self.connect(order).await?,
        };
        let answer = timeout(PATIENCE, link.client.simple_query(order)).await;
        let late = |_| ConsoleError::Late {
            order: order.to_owned(),
        };
        let failed = |source| ConsoleError::Failed {
            order: order.to_owned(),
            source,
        };
        let messages = answer.map_err(late)?.map_err(failed)?;
        // One that failed is not used again: what it still answers would be taken for another answer.
        self.link = Some(link);
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    async fn connect(&self, order: &str) -> Result<Link, ConsoleError> {
        let connected = timeout(PATIENCE, self.log_in(order)).await;
        connected.map_err(|_| ConsoleError::Late {
            order: order.to_owned(),
        })?
    }

    async fn log_in(&self, order: &str) -> Result<Link, ConsoleError> {
        let unreachable = |source| ConsoleError::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let failed = |source| ConsoleError::Failed {
            order: order.to_owned(),
            source,
        };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(unreachable)?;
        let connected = self.config.connect_raw(stream, NoTls).await;
        let (client, connection) = connected.map_err(failed)?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the console ended");
            }
        });
        Ok(Link {
            client,
            _task: task,
        })
    }
}

/// A connection, with the task that carries it and ends with it.
#[derive(Debug)]
struct Link {
    client: Client,
    _task: JoinSet<()>,
}

struct Row<'a> {
    order: &'a str,
    row: &'a SimpleQueryRow,
}

impl Row<'_> {
    /// Empty where the console shows nothing: it has no server of its own.
    fn text(&self, column: &'static str) -> String {
        let value = self.row.try_get(column).ok().flatten();
        value.unwrap_or_default().to_owned()
    }

    fn number<N: std::str::FromStr>(&self, column: &'static str) -> Result<N, ConsoleError> {
        let malformed = || ConsoleError::Malformed {
            order: self.order.to_owned(),
            column,
        };
        self.text(column).parse().map_err(|_| malformed())
    }
}
