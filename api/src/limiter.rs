//! A token bucket for each API token.
//!
//! A bucket holds up to `burst` requests and refills at `rate` a second. Only buckets that are not
//! full are kept, so memory is bounded by the tokens in use.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::ids::TokenId;
use tokio::time::Instant;

/// Buckets kept before full ones are looked for and forgotten.
const SWEEP_AT: usize = 1024;

/// Limits requests of each token.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<TokenId, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Requests it held at `at`.
    level: f64,
    at: Instant,
}

impl Limiter {
    /// `rate` requests a second in the long run, `burst` of them at once.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        Self {
            rate: rate.into(),
            burst: burst.into(),
            buckets: Mutex::default(),
        }
    }

    /// Takes one request of `token`.
    ///
    /// # Errors
    /// The time until there is one, if there is none.
    pub(crate) fn take(&self, token: TokenId) -> Result<(), Duration> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= SWEEP_AT {
            buckets.retain(|_, bucket| self.level(bucket, now) < self.burst);
        }
        let bucket = buckets.entry(token).or_insert(Bucket {
            level: self.burst,
            at: now,
        });
        let level = self.level(bucket, now);
        let taken = level >= 1.0;
        *bucket = Bucket {
            level: if taken { level - 1.0 } else { level },
            at: now,
        };
        if taken {
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - level) / self.rate))
        }
    }

    fn level(&self, bucket: &Bucket, now: Instant) -> f64 {
        let refilled = now.duration_since(bucket.at).as_secs_f64() * self.rate;
        (bucket.level + refilled).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate() {
        let limiter = Limiter::new(2, 3);
        let token = TokenId::new();
        for _ in 0..3 {
            limiter.take(token).unwrap();
        }
        assert_eq!(limiter.take(token), Err(Duration::from_millis(500)));
        limiter.take(TokenId::new()).unwrap();
        advance(Duration::from_millis(500)).await;
        limiter.take(token).unwrap();
        limiter.take(token).unwrap_err();
        advance(Duration::from_mins(1)).await;
        for _ in 0..3 {
            limiter.take(token).unwrap();
        }
        limiter.take(token).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_forgotten() {
        let limiter = Limiter::new(1, 1);
        for _ in 0..SWEEP_AT {
            limiter.take(TokenId::new()).unwrap();
        }
        advance(Duration::from_secs(2)).await;
        limiter.take(TokenId::new()).unwrap();
        assert_eq!(limiter.buckets.lock().unwrap().len(), 1);
    }
}
