//! Waiting longer after each failure in a row, with jitter.

use std::time::Duration;

/// A policy: doubles from `base` to `cap`, minus up to half of it as jitter.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// A policy that waits about `base` after the first failure and never longer than `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// How long to wait after `failures` failures in a row (1 or more).
    ///
    /// `salt` decides the jitter: equal salts wait equally long, so take something that differs
    /// between those who would otherwise come back together.
    pub fn after(&self, failures: u32, salt: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        spread(full, salt)
    }
}

/// Shortens `full` by up to a half, by an amount that `salt` decides: members that were due
/// together drift apart.
pub fn spread(full: Duration, salt: u64) -> Duration {
    let half = full / 2;
    let thousandths = u32::try_from(mix(salt) % 1001).unwrap_or(0);
    half + half * thousandths / 1000
}

/// Spreads the bits of `seed` evenly (the finaliser of splitmix64).
pub(super) const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_up_to_twice_as_long_until_the_cap() {
        let policy = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for (failures, full) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
            let full = Duration::from_secs(full);
            for salt in 0..100 {
                let wait = policy.after(failures, salt);
                assert!(
                    wait >= full / 2 && wait <= full,
                    "{failures} {salt} {wait:?}"
                );
            }
        }
    }

    #[test]
    fn different_salts_spread_over_the_whole_half() {
        let waits: Vec<_> = (0..1000)
            .map(|salt| spread(Duration::from_secs(10), salt))
            .collect();
        let below = waits
            .iter()
            .filter(|wait| **wait < Duration::from_millis(7500))
            .count();
        assert!((400..600).contains(&below), "{below}");
    }
}
