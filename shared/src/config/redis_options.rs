//! Where Redis is: one server, or Sentinels that know it.

use clap::Args;

use super::Validate;
use crate::queue::{QueueConfig, QueueError, RedisAddress, SentinelAddress};
use crate::secret::Secret;

/// Where Redis is. Either one server, or Sentinels and the name of the master they watch.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisOptions {
    /// URL of Redis, `redis://[user:password@]host:port[/database]`; only from the environment,
    /// for it may hold a password.
    #[arg(
        id = "redis_url",
        long = "redis-url",
        env = "RINGMASTER_REDIS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub url: Option<Secret>,

    /// Addresses of Sentinels, `host:port`, separated by commas; one that answers is enough.
    #[arg(
        id = "redis_sentinels",
        long = "redis-sentinels",
        env = "RINGMASTER_REDIS_SENTINELS",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub sentinels: Vec<String>,

    /// Name of the master in the configuration of the Sentinels.
    #[arg(
        id = "redis_sentinel_master",
        long = "redis-sentinel-master",
        env = "RINGMASTER_REDIS_SENTINEL_MASTER",
        value_name = "NAME"
    )]
    pub sentinel_master: Option<String>,

    /// User at the master behind Sentinels; without it the default user.
    #[arg(
        id = "redis_username",
        long = "redis-username",
        env = "RINGMASTER_REDIS_USERNAME",
        value_name = "NAME"
    )]
    pub username: Option<String>,

    /// Password at the master behind Sentinels; only from the environment.
    #[arg(
        id = "redis_password",
        long = "redis-password",
        env = "RINGMASTER_REDIS_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub password: Option<Secret>,

    /// Password at the Sentinels themselves; only from the environment.
    #[arg(
        id = "redis_sentinel_password",
        long = "redis-sentinel-password",
        env = "RINGMASTER_REDIS_SENTINEL_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub sentinel_password: Option<Secret>,
}

/// Where Redis is, once the options have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisTarget {
    /// One server.
    Single(Secret),
    /// The master that Sentinels name at the time.
    Sentinel {
        /// Addresses of Sentinels, `host:port`.
        sentinels: Vec<String>,
        /// Name of the master there.
        master: String,
    },
}

impl RedisOptions {
    /// Where Redis is.
    ///
    /// # Errors
    /// A sentence about what is missing or too much.
    pub fn target(&self) -> Result<RedisTarget, String> {
        match (&self.url, self.sentinels.as_slice(), &self.sentinel_master) {
            (Some(url), [], None) => single(url),
            (None, [_, ..], Some(master)) => Ok(RedisTarget::Sentinel {
                sentinels: self.sentinels.clone(),
                master: master.clone(),
            }),
            (None, [], None) => Err("set RINGMASTER_REDIS_URL (for example \
                redis://127.0.0.1:6379), or --redis-sentinels and --redis-sentinel-master"
                .to_owned()),
            (None, _, _) => {
                Err("--redis-sentinels and --redis-sentinel-master need each other".to_owned())
            }
            (Some(_), _, _) => Err(
                "set either RINGMASTER_REDIS_URL or Sentinels, not both: with \
                Sentinels, RINGMASTER_REDIS_PASSWORD holds the password"
                    .to_owned(),
            ),
        }
    }
}

impl RedisOptions {
    /// The queue there, with its usual layout.
    ///
    /// # Errors
    /// A sentence about what is missing, too much, or not an address.
    pub fn queue_config(&self) -> Result<QueueConfig, String> {
        let address = match self.target()? {
            RedisTarget::Single(url) => RedisAddress::Single { url },
            RedisTarget::Sentinel { sentinels, master } => {
                RedisAddress::Sentinel(SentinelAddress {
                    sentinels,
                    master,
                    username: self.username.clone(),
                    password: self.password.clone(),
                    sentinel_password: self.sentinel_password.clone(),
                    database: 0,
                })
            }
        };
        QueueConfig::new(address).map_err(|error: QueueError| error.to_string())
    }
}

fn single(url: &Secret) -> Result<RedisTarget, String> {
    let known = ["redis://", "rediss://", "unix://"];
    if known.iter().any(|scheme| url.expose().starts_with(scheme)) {
        Ok(RedisTarget::Single(url.clone()))
    } else {
        Err(
            "RINGMASTER_REDIS_URL must begin with redis:// (for example \
             redis://127.0.0.1:6379)"
                .to_owned(),
        )
    }
}

impl Validate for RedisOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        problems.extend(self.queue_config().err());
    }
}
