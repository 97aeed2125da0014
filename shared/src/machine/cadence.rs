//! When to look again.

use std::time::Duration;

/// Longest time between two looks at something that is not as it should be.
const TROUBLED: Duration = Duration::from_secs(1);

/// Longest time between two looks at a server, whatever its plan says: agents notice crashes
/// themselves, but nobody else notices a dead agent.
const SERVER: Duration = Duration::from_secs(10);

/// Time between two looks at an agent that reads from the archive: it asks for more than it reads in
/// that time.
pub const READING: Duration = Duration::from_millis(200);

/// Share of a delay that jitter may take away or add, as a divisor: a tenth.
const JITTER_DIVISOR: u64 = 10;

/// Time between two looks while something is wrong: the plan's cadence, but at most a second.
pub fn troubled(cadence: Duration) -> Duration {
    cadence.min(TROUBLED)
}

/// Time between two looks at a server that is well: the plan's cadence, but at most ten seconds.
pub fn server(cadence: Duration) -> Duration {
    cadence.min(SERVER)
}

/// Time between two looks at something that is being waited for, by how long it has been: quick at
/// first, because a customer is waiting; slower when it takes long.
pub fn waiting(time_in_state: Duration) -> Duration {
    match time_in_state.as_secs() {
        0..10 => Duration::from_millis(200),
        10..120 => Duration::from_secs(1),
        _ => Duration::from_secs(5),
    }
}

/// A delay with up to a tenth taken away or added, so that what began together does not stay
/// together. The same seed gives the same delay: the caller takes a new one each time.
pub fn jittered(delay: Duration, seed: u64) -> Duration {
    let whole = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
    let most = whole / JITTER_DIVISOR;
    if most == 0 {
        return delay;
    }
    let offset = mixed(seed) % (2 * most + 1);
    Duration::from_micros((whole - most).saturating_add(offset))
}

/// Finaliser of `SplitMix64`: neighbouring seeds give unrelated numbers.
const fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn jitter_stays_within_a_tenth(millis in 0u64..86_400_000, seed: u64) {
            let delay = Duration::from_millis(millis);
            let jittered = jittered(delay, seed);
            prop_assert!(jittered + delay / 10 >= delay);
            prop_assert!(jittered <= delay + delay / 10);
        }
    }

    #[test]
    fn jitter_spreads_what_began_together() {
        let mut delays: Vec<_> = (0..1_000)
            .map(|seed| jittered(Duration::from_secs(10), seed))
            .collect();
        delays.sort();
        assert!(
            delays[999] > delays[0] + Duration::from_millis(1_900),
            "{delays:?}"
        );
        delays.dedup();
        assert!(
            delays.len() > 990,
            "{} different ones of 1000",
            delays.len()
        );
    }

    #[test]
    fn waiting_is_quick_at_first() {
        assert!(waiting(Duration::ZERO) < waiting(Duration::from_mins(1)));
        assert!(waiting(Duration::from_mins(1)) < waiting(Duration::from_mins(10)));
    }
}
