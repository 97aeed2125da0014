//! The connection to Redis: one, shared by all verbs, made when it is first needed and made anew
//! when it broke. With Sentinel, each new connection asks again who the master is.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::config::Dialer;
use super::error::spoils_connection;
use super::scripts::Verb;
use super::{QueueConfig, QueueError};

/// Shortest and longest time for which a failed connect is not repeated: callers that come
/// meanwhile get its error at once, instead of queueing up behind attempts that take seconds.
const REDIAL_MIN: Duration = Duration::from_millis(20);
const REDIAL_MAX: Duration = Duration::from_millis(500);

/// The connection, and what is needed to make it again.
pub(super) struct Link {
    live: RwLock<Option<Live>>,
    dialing: Mutex<Dialing>,
    response_timeout: Duration,
    connect_timeout: Duration,
}

/// A connection with a number, so that who finds it broken drops this one and not its successor.
#[derive(Clone)]
struct Live {
    number: u64,
    connection: MultiplexedConnection,
}

struct Dialing {
    dialer: Dialer,
    made: u64,
    failures: u32,
    refused_until: Option<(Instant, RedisError)>,
}

impl Link {
    /// Prepares a connection, and makes none yet.
    pub(super) fn new(config: &QueueConfig) -> Result<Arc<Self>, QueueError> {
        Ok(Arc::new(Self {
            live: RwLock::new(None),
            dialing: Mutex::new(Dialing {
                dialer: config.dialer()?,
                made: 0,
                failures: 0,
                refused_until: None,
            }),
            response_timeout: config.response_timeout,
            connect_timeout: config.connect_timeout,
        }))
    }

    /// Makes the connection now, so that a wrong address is noticed early.
    pub(super) async fn connect(&self) -> Result<(), QueueError> {
        self.live()
            .await
            .map(drop)
            .map_err(|source| QueueError::Unreachable { source })
    }

    /// Runs a script, `command` being its EVALSHA, and loads it if Redis does not know it.
    pub(super) async fn run(&self, verb: &Verb, command: &Cmd) -> Result<Value, QueueError> {
        let mut live = self
            .live()
            .await
            .map_err(|source| QueueError::Unreachable { source })?;
        let mut reply = live
            .connection
            .send_packed_command(command)
            .await
            .and_then(Value::extract_error);
        if let Err(error) = &reply
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            reply = match verb.script().load_async(&mut live.connection).await {
                Ok(_) => live
                    .connection
                    .send_packed_command(command)
                    .await
                    .and_then(Value::extract_error),
                Err(error) => Err(error),
            };
        }
        reply.map_err(|source| {
            if spoils_connection(&source) {
                self.drop_connection(live.number);
            }
            QueueError::Redis {
                verb: verb.name,
                source,
            }
        })
    }

    /// A connection of its own for subscriptions.
    pub(super) async fn subscriber(&self) -> Result<PubSub, QueueError> {
        let dial = async {
            let client = self.dialing.lock().await.dialer.client().await?;
            client.get_async_pubsub().await
        };
        let made = timeout(self.connect_timeout, dial)
            .await
            .unwrap_or_else(|_| Err(too_slow()));
        made.map_err(|source| QueueError::Unreachable { source })
    }

    /// Longest time that an answer may take.
    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// The present connection, or a new one.
    async fn live(&self) -> Result<Live, RedisError> {
        if let Some(live) = self.present() {
            return Ok(live);
        }
        let mut dialing = self.dialing.lock().await;
        if let Some(live) = self.present() {
            return Ok(live);
        }
        if let Some((until, error)) = &dialing.refused_until
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let made = timeout(self.connect_timeout, dialing.dial(self)).await;
        match made.unwrap_or_else(|_| Err(too_slow())) {
            Ok(connection) => {
                dialing.made += 1;
                dialing.failures = 0;
                dialing.refused_until = None;
                let live = Live {
                    number: dialing.made,
                    connection,
                };
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                let pause = REDIAL_MIN
                    .saturating_mul(1 << dialing.failures.min(8))
                    .min(REDIAL_MAX);
                dialing.failures = dialing.failures.saturating_add(1);
                dialing.refused_until = Some((Instant::now() + pause, error.clone()));
                Err(error)
            }
        }
    }

    fn present(&self) -> Option<Live> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets the connection with this number; one that was made since stays.
    fn drop_connection(&self, number: u64) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
        }
    }
}

impl Dialing {
    async fn dial(&mut self, link: &Link) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(link.connect_timeout))
            .set_response_timeout(Some(link.response_timeout));
        let client = self.dialer.client().await?;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

impl Dialer {
    /// Who to connect to at this moment.
    async fn client(&mut self) -> Result<Client, RedisError> {
        match self {
            Self::Single(client) => Ok(client.clone()),
            Self::Sentinel(sentinel) => sentinel.async_get_client().await,
        }
    }
}

fn too_slow() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
