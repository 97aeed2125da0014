//! Quantities that would otherwise be bare integers: a WAL position.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A position in the WAL: bytes since the beginning of the cluster's life, as PostgreSQL prints it
/// (`0/16B3748`: upper and lower 32 bits in hexadecimal).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The position `bytes` after the beginning.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes since the beginning.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A text that is not a WAL position.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a WAL position: expected two hexadecimal numbers such as 0/16B3748")]
pub struct InvalidLsn(String);

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let half = |part: &str| {
            let digits =
                (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| InvalidLsn(text.chars().take(32).collect()))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({self})")
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(
            text.parse::<Lsn>().ok().map(Lsn::bytes),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn a_wal_position_is_read_as_postgres_prints_it() {
        check("0/0", Some(0));
        check("0/16B3748", Some(0x016B_3748));
        check("1/0", Some(1 << 32));
        check("FFFFFFFF/FFFFFFFF", Some(u64::MAX));
        check("", None);
        check("/", None);
        check("0", None);
        check("0/+1", None);
        check("0/123456789", None);
        check("0/1/2", None);
        check("x/1", None);
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let lsn = Lsn::from_bytes(0x0001_0000_0016_B374);
        assert_eq!(lsn.to_string().parse(), Ok(lsn));
    }
}
