//! What a worker knows about its right to a member: until when, and whether it was lost.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The right of one turn to its member, shared by the turn and the keeper that extends it.
///
/// The end is reckoned from before the claim was sent, by this process's monotonic clock: it is
/// never later than Redis's. No wall clock is involved.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    expires: Mutex<Instant>,
    lost: CancellationToken,
}

impl Lease {
    /// A lease that lasts until `expires`, unless it is lost before.
    pub fn until(expires: Instant) -> Self {
        Self(Arc::new(Inner {
            expires: Mutex::new(expires),
            lost: CancellationToken::new(),
        }))
    }

    /// Whether the member is certainly still ours. To be asked before each effect: once `false`,
    /// it stays `false`, and the turn must change nothing more.
    pub fn still_mine(&self) -> bool {
        if self.0.lost.is_cancelled() {
            return false;
        }
        let mine = Instant::now() < self.expires();
        if !mine {
            self.lose();
        }
        mine
    }

    /// Waits until the lease is known to be lost: for ever if it is not.
    pub async fn lost(&self) {
        self.0.lost.cancelled().await;
    }

    pub(super) fn expires(&self) -> Instant {
        *self
            .0
            .expires
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the end to `expires`. Of a lost lease it changes nothing that can be seen.
    pub(super) fn extend_to(&self, expires: Instant) {
        let mut end = self
            .0
            .expires
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *end = (*end).max(expires);
    }

    pub(super) fn lose(&self) {
        self.0.lost.cancel();
    }

    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_ran_out_is_lost_for_good() {
        let lease = Lease::until(Instant::now() + Duration::from_secs(10));
        assert!(lease.still_mine());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!lease.still_mine());
        lease.extend_to(Instant::now() + Duration::from_secs(10));
        assert!(!lease.still_mine());
        lease.lost().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_extended_lease_lasts_longer_and_never_shorter() {
        let start = Instant::now();
        let lease = Lease::until(start + Duration::from_secs(10));
        lease.extend_to(start + Duration::from_secs(30));
        lease.extend_to(start + Duration::from_secs(20));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(lease.still_mine());
    }
}
