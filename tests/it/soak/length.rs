//! How long a soak test takes, and the seed of its chance.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use shared::clock::{Clock as _, SystemClock};

use crate::machines::world::dice::Dice;

/// Variable that makes the tests long: `long`, or a length such as `90s` or `15m`. Short without it.
const LENGTH: &str = "RINGMASTER_SOAK";

/// Variable with the seed, a number; another one each time without it.
const SEED: &str = "RINGMASTER_SOAK_SEED";

/// How long a test takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// As part of `make test`.
    Short,
    /// As part of `make soak`.
    Long,
    /// As many steps as a long one, but this long.
    Lasting(Duration),
}

impl Length {
    /// What the environment asks for.
    pub(super) fn wished() -> anyhow::Result<Self> {
        variable(LENGTH).map_or(Ok(Self::Short), |text| text.parse())
    }

    /// How long it lasts.
    pub(super) fn lasts(self, short: Duration, long: Duration) -> Duration {
        match self {
            Self::Short => short,
            Self::Long => long,
            Self::Lasting(asked) => asked,
        }
    }

    /// How many there are of something.
    pub(super) fn count<N>(self, short: N, long: N) -> N {
        match self {
            Self::Short => short,
            Self::Long | Self::Lasting(_) => long,
        }
    }
}

impl FromStr for Length {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{LENGTH} is {text:?}: expected long, or a length such as 90s");
        if text == "long" {
            return Ok(Self::Long);
        }
        let (number, seconds) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
            (Some(number), _) => (number, 1),
            (_, Some(number)) => (number, 60),
            (None, None) => anyhow::bail!(wrong()),
        };
        let number: u32 = number.parse().with_context(wrong)?;
        Ok(Self::Lasting(Duration::from_secs(seconds) * number))
    }
}

/// Runs `test` with its chance; whatever it says of itself names the seed.
pub(super) async fn seeded(
    name: &str,
    test: impl AsyncFnOnce(Length, Dice) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let length = Length::wished()?;
    let seed = match variable(SEED) {
        Some(text) => text.parse().with_context(|| format!("read {SEED}"))?,
        None => SystemClock.now().timestamp_micros().unsigned_abs() % 1_000_000_000,
    };
    println!("{name}: {length:?}, {SEED}={seed}");
    test(length, Dice::new(seed))
        .await
        .with_context(|| format!("{name} with {SEED}={seed}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no options of its own"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

#[test]
fn a_length_is_a_word_or_a_number_of_seconds_or_minutes() {
    let check = |text: &str, expected: Option<Length>| {
        assert_eq!(text.parse::<Length>().ok(), expected, "{text}");
    };
    check("long", Some(Length::Long));
    check("90s", Some(Length::Lasting(Duration::from_secs(90))));
    check("15m", Some(Length::Lasting(Duration::from_mins(15))));
    check("15", None);
    check("s", None);
    check("-1s", None);
}
