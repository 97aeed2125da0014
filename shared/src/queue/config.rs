//! Where Redis is, and how the queue is laid out in it.

mod options;

use std::time::Duration;

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr};

use super::QueueError;
use crate::secret::Secret;

/// Most shards of one ring.
pub const SHARDS_MAX: u16 = 256;

/// Shards of one ring if nothing else is said: enough for 16 workers, and few enough that an idle
/// worker that polls all of them once a second is not noticed.
pub const SHARDS_DEFAULT: u16 = 16;

/// How long an answer of Redis may take: longer than a slow server (800 ms are survived), shorter
/// than a lease.
const RESPONSE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// How long making a connection may take, all of its round trips together.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Port of a Sentinel that does not name one.
const SENTINEL_PORT: u16 = 26_379;

/// Where Redis is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// One server, `redis://[user:password@]host[:port][/database]` or `unix:///path`.
    Single {
        /// The address; secret, for it may hold a password.
        url: Secret,
    },
    /// The server that Sentinel names as the master at the time.
    Sentinel(SentinelAddress),
}

/// How to find a master through Sentinel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelAddress {
    /// The Sentinels, `host` or `host:port` (default port 26379); one that answers is enough.
    pub sentinels: Vec<String>,
    /// The name of the master in the configuration of Sentinel.
    pub master: String,
    /// The user at the master; `None`: the default user.
    pub username: Option<String>,
    /// The password at the master; `None`: none is asked for.
    pub password: Option<Secret>,
    /// The password at the Sentinels; `None`: none is asked for.
    pub sentinel_password: Option<Secret>,
    /// The number of the database at the master, mostly 0.
    pub database: u16,
}

/// The configuration of a queue.
///
/// All processes that share a queue must agree on namespace and shards: a member is in the queue once *per layout*, so change the number of shards only together
/// with the namespace (the ring is then built anew).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    pub(super) address: RedisAddress,
    pub(super) namespace: String,
    pub(super) shards: u16,
    pub(super) response_timeout: Duration,
    pub(super) connect_timeout: Duration,
}

impl QueueConfig {
    /// A queue at `address` with namespace `ringmaster`, 16 shards a ring and 5 s for an answer.
    ///
    /// # Errors
    ///
    /// [`QueueError::InvalidConfig`] if the address cannot be understood.
    pub fn new(address: RedisAddress) -> Result<Self, QueueError> {
        let config = Self {
            address,
            namespace: "ringmaster".to_owned(),
            shards: SHARDS_DEFAULT,
            response_timeout: RESPONSE_TIMEOUT_DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
        };
        config.dialer()?;
        Ok(config)
    }

    /// A queue in the one Redis at `url`.
    ///
    /// # Errors
    ///
    /// [`QueueError::InvalidConfig`] if the address cannot be understood.
    pub fn single(url: impl Into<String>) -> Result<Self, QueueError> {
        Self::new(RedisAddress::Single {
            url: Secret::new(url),
        })
    }

    /// Sets the beginning of all names in Redis: 1 to 40 of `a-z`, `0-9`, `_` and `-`.
    ///
    /// # Errors
    ///
    /// [`QueueError::InvalidConfig`] for any other text.
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Result<Self, QueueError> {
        let namespace = namespace.into();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        if !(1..=40).contains(&namespace.len()) || !namespace.chars().all(allowed) {
            return invalid(format!(
                "the namespace {namespace:?} is not made of 1 to 40 of a-z, 0-9, _ and -"
            ));
        }
        self.namespace = namespace;
        Ok(self)
    }

    /// Sets the number of shards of each ring, 1 to 256.
    ///
    /// # Errors
    ///
    /// [`QueueError::InvalidConfig`] outside of that range.
    pub fn with_shards(mut self, shards: u16) -> Result<Self, QueueError> {
        if !(1..=SHARDS_MAX).contains(&shards) {
            return invalid(format!(
                "{shards} shards a ring are not between 1 and {SHARDS_MAX}"
            ));
        }
        self.shards = shards;
        Ok(self)
    }

    /// Sets how long an answer of Redis may take, 10 ms to 60 s.
    ///
    /// # Errors
    ///
    /// [`QueueError::InvalidConfig`] outside of that range.
    pub fn with_response_timeout(mut self, timeout: Duration) -> Result<Self, QueueError> {
        self.response_timeout = checked_timeout("response", timeout)?;
        Ok(self)
    }

    /// Sets how long making a connection may take, 10 ms to 60 s.
    ///
    /// # Errors
    ///
    /// [`QueueError::InvalidConfig`] outside of that range.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Result<Self, QueueError> {
        self.connect_timeout = checked_timeout("connect", timeout)?;
        Ok(self)
    }

    /// What makes connections to the configured address.
    pub(super) fn dialer(&self) -> Result<Dialer, QueueError> {
        match &self.address {
            RedisAddress::Single { url } => Client::open(url.expose())
                .map(Dialer::Single)
                .or_else(|error| invalid(format!("the address of Redis is not usable: {error}"))),
            RedisAddress::Sentinel(address) => {
                sentinel_client(address).map(|client| Dialer::Sentinel(Box::new(client)))
            }
        }
    }
}

/// What makes connections.
pub(super) enum Dialer {
    Single(Client),
    Sentinel(Box<SentinelClient>),
}

fn sentinel_client(address: &SentinelAddress) -> Result<SentinelClient, QueueError> {
    if address.sentinels.is_empty() || address.master.is_empty() {
        return invalid("Sentinel needs at least one address and the name of a master".to_owned());
    }
    let sentinels = address
        .sentinels
        .iter()
        .map(|text| host_and_port(text))
        .collect::<Result<Vec<_>, _>>()?;
    let not_usable = |error| QueueError::InvalidConfig {
        reason: format!("the Sentinel settings are not usable: {error}"),
    };
    let mut builder =
        SentinelClientBuilder::new(sentinels, &address.master, SentinelServerType::Master)
            .map_err(not_usable)?
            .set_client_to_redis_db(i64::from(address.database));
    if let Some(username) = &address.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &address.password {
        builder = builder.set_client_to_redis_password(password.expose());
    }
    if let Some(password) = &address.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password.expose());
    }
    builder.build().map_err(not_usable)
}

fn host_and_port(text: &str) -> Result<ConnectionAddr, QueueError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (text, Some(SENTINEL_PORT)),
    };
    match port {
        Some(port) if !host.is_empty() => Ok(ConnectionAddr::Tcp(host.to_owned(), port)),
        _ => invalid(format!("{text:?} is not the host:port of a Sentinel")),
    }
}

fn checked_timeout(which: &str, timeout: Duration) -> Result<Duration, QueueError> {
    if (Duration::from_millis(10)..=Duration::from_mins(1)).contains(&timeout) {
        Ok(timeout)
    } else {
        invalid(format!(
            "the {which} timeout {timeout:?} is not between 10 ms and 60 s"
        ))
    }
}

fn invalid<T>(reason: String) -> Result<T, QueueError> {
    Err(QueueError::InvalidConfig { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinel(sentinels: &[&str], master: &str) -> RedisAddress {
        RedisAddress::Sentinel(SentinelAddress {
            sentinels: sentinels.iter().map(|&text| text.to_owned()).collect(),
            master: master.to_owned(),
            username: None,
            password: Some(Secret::new("hunter2")),
            sentinel_password: None,
            database: 0,
        })
    }

    #[test]
    fn usable_settings_are_accepted() {
        let config = QueueConfig::single("redis://127.0.0.1:6400/").unwrap();
        assert_eq!(
            (config.namespace.as_str(), config.shards),
            ("ringmaster", 16)
        );
        let config = config
            .with_namespace("test-1_a")
            .unwrap()
            .with_shards(256)
            .unwrap();
        assert!(config.with_response_timeout(Duration::from_secs(1)).is_ok());
        assert!(QueueConfig::new(sentinel(&["a", "b:26380"], "queue")).is_ok());
    }

    #[test]
    fn unusable_settings_are_refused_with_a_reason() {
        let good = QueueConfig::single("redis://127.0.0.1/").unwrap();
        let long = "a".repeat(41);
        let results = [
            QueueConfig::single("http://127.0.0.1/"),
            QueueConfig::single("not an address"),
            QueueConfig::new(sentinel(&[], "queue")),
            QueueConfig::new(sentinel(&["a"], "")),
            QueueConfig::new(sentinel(&["a:port"], "queue")),
            QueueConfig::new(sentinel(&[":1"], "queue")),
            good.clone().with_namespace(""),
            good.clone().with_namespace("Ring*"),
            good.clone().with_namespace(long),
            good.clone().with_shards(0),
            good.clone().with_shards(257),
            good.clone().with_response_timeout(Duration::ZERO),
            good.with_connect_timeout(Duration::from_secs(61)),
        ];
        for result in results {
            let error = result.unwrap_err();
            assert!(matches!(error, QueueError::InvalidConfig { .. }), "{error}");
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        let single = QueueConfig::single("redis://:hunter2@127.0.0.1/").unwrap();
        let sentinel = QueueConfig::new(sentinel(&["a"], "queue")).unwrap();
        assert!(!format!("{single:?}{sentinel:?}").contains("hunter2"));
    }
}
