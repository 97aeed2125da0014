//! From the options of a process to the configuration of its queue.

use super::{QueueConfig, RedisAddress, SentinelAddress};
use crate::config::{RedisOptions, RedisTarget};
use crate::queue::QueueError;

impl TryFrom<&RedisOptions> for QueueConfig {
    type Error = QueueError;

    /// A queue where the options say, with the usual namespace, shards and timeouts.
    fn try_from(options: &RedisOptions) -> Result<Self, QueueError> {
        let target = options
            .target()
            .map_err(|reason| QueueError::InvalidConfig { reason })?;
        Self::new(match target {
            RedisTarget::Single(url) => RedisAddress::Single { url },
            RedisTarget::Sentinel { sentinels, master } => {
                RedisAddress::Sentinel(SentinelAddress {
                    sentinels,
                    master,
                    username: options.username.clone(),
                    password: options.password.clone(),
                    sentinel_password: options.sentinel_password.clone(),
                    database: 0,
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn options() -> RedisOptions {
        RedisOptions {
            url: None,
            sentinels: vec![],
            sentinel_master: None,
            username: None,
            password: None,
            sentinel_password: None,
        }
    }

    #[test]
    fn one_server_is_configured_by_its_url() {
        let mut options = options();
        options.url = Some(Secret::new("redis://127.0.0.1:6400/"));
        let config = QueueConfig::try_from(&options).unwrap();
        assert_eq!(
            config,
            QueueConfig::single("redis://127.0.0.1:6400/").unwrap()
        );
    }

    #[test]
    fn sentinels_are_configured_with_all_their_options() {
        let mut options = options();
        options.sentinels = vec!["a:1".to_owned(), "b".to_owned()];
        options.sentinel_master = Some("queue".to_owned());
        options.username = Some("ring".to_owned());
        options.password = Some(Secret::new("one"));
        options.sentinel_password = Some(Secret::new("two"));
        let config = QueueConfig::try_from(&options).unwrap();
        let expected = RedisAddress::Sentinel(SentinelAddress {
            sentinels: options.sentinels,
            master: "queue".to_owned(),
            username: options.username,
            password: options.password,
            sentinel_password: options.sentinel_password,
            database: 0,
        });
        assert_eq!(config.address, expected);
    }

    #[test]
    fn options_that_name_no_redis_are_refused() {
        let error = QueueConfig::try_from(&options()).unwrap_err();
        assert!(
            error.to_string().contains("RINGMASTER_REDIS_URL"),
            "{error}"
        );
    }
}
