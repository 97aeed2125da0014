//! News that something became due, so that an idle worker need not wait for its next look.
//!
//! A piece of news may be lost (a broken connection, a slow reader): it only shortens a wait, and
//! the wake itself is kept in the queue.

use std::time::Duration;

use futures::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::{sleep, timeout};

use super::{Queue, QueueError, Shard, keys};

/// After so long a silence, the connection is asked whether it still works.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Pause before a lost connection is made again: at first, and at most.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// A subscription to the wakes of all shards, which heals by itself.
pub struct Wakes {
    queue: Queue,
    ears: Option<(PubSubSink, PubSubStream)>,
    failures: u32,
}

impl Queue {
    /// Subscribes to the wakes of all shards. If Redis is away, that is tried again in
    /// [`Wakes::next`].
    pub async fn subscribe_wakes(&self) -> Wakes {
        let mut wakes = Wakes {
            queue: self.clone(),
            ears: None,
            failures: 0,
        };
        wakes.connect().await;
        wakes
    }
}

impl Wakes {
    /// Waits for a shard in which something became due.
    ///
    /// It never ends and never fails; a broken subscription is made again. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Shard {
        loop {
            let Some((sink, stream)) = &mut self.ears else {
                let doubled = RECONNECT_MIN.saturating_mul(1 << self.failures.min(8));
                sleep(doubled.min(RECONNECT_MAX)).await;
                self.connect().await;
                continue;
            };
            match timeout(SILENCE_MAX, stream.next()).await {
                Ok(Some(message)) => {
                    let channel = message.get_channel_name();
                    if let Some(shard) = keys::shard_of_wakes(&self.queue.inner.namespace, channel)
                    {
                        return shard;
                    }
                }
                Ok(None) => self.ears = None,
                Err(_) => {
                    let patience = self.queue.inner.link.response_timeout();
                    if !matches!(
                        timeout(patience, sink.ping::<redis::Value>()).await,
                        Ok(Ok(_))
                    ) {
                        self.ears = None;
                    }
                }
            }
        }
    }

    /// Whether the subscription stood when it was last looked at.
    pub fn is_connected(&self) -> bool {
        self.ears.is_some()
    }

    async fn connect(&mut self) {
        match self.subscribe().await {
            Ok(ears) => {
                self.ears = Some(ears);
                self.failures = 0;
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::debug!(error = %error, source, "failed to subscribe to wakes");
            }
        }
    }

    async fn subscribe(&self) -> Result<(PubSubSink, PubSubStream), QueueError> {
        let link = &self.queue.inner.link;
        let (mut sink, stream) = link.subscriber().await?.split();
        let pattern = keys::wakes_pattern(&self.queue.inner.namespace);
        let too_slow = || std::io::Error::from(std::io::ErrorKind::TimedOut).into();
        timeout(link.response_timeout(), sink.psubscribe(pattern))
            .await
            .unwrap_or_else(|_| Err(too_slow()))
            .map_err(|source| QueueError::Redis {
                verb: "subscribe",
                source,
            })?;
        Ok((sink, stream))
    }
}

impl std::fmt::Debug for Wakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wakes")
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
