//! The name of a resource, checked once at the boundary.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::ResourceId;

/// Longest name, so that names fit into a DNS label together with a suffix of ours.
const LONGEST: usize = 40;

/// A name chosen by a customer: 1 to 40 lower-case letters, digits and hyphens, beginning with a
/// letter and not ending with a hyphen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName(String);

/// A text that cannot be the name of a resource.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a name: use 1 to 40 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen"
)]
pub struct InvalidName(String);

impl ResourceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the database of resource `id`: readable, and unique in the fleet because of the id.
    /// At most 63 bytes, PostgreSQL's limit.
    pub fn database_name(&self, id: ResourceId) -> String {
        let readable: String = self
            .0
            .chars()
            .take(24)
            .map(|c| if c == '-' { '_' } else { c })
            .collect();
        format!("{readable}_{}", id.as_uuid().simple())
    }
}

impl FromStr for ResourceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let bytes = text.as_bytes();
        let good = bytes.len() <= LONGEST
            && bytes.iter().copied().all(plain)
            && bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.last() != Some(&b'-');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName(text.chars().take(64).collect()))
        }
    }
}

impl TryFrom<String> for ResourceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ResourceName> for String {
    fn from(name: ResourceName) -> String {
        name.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, good: bool) {
        assert_eq!(text.parse::<ResourceName>().is_ok(), good, "{text:?}");
    }

    #[test]
    fn a_name_is_a_dns_label_that_begins_with_a_letter() {
        check("shop", true);
        check("shop-2", true);
        check("a", true);
        check(&"a".repeat(40), true);
        check("", false);
        check(&"a".repeat(41), false);
        check("Shop", false);
        check("2shop", false);
        check("shop-", false);
        check("-shop", false);
        check("shop_x", false);
        check("shöp", false);
        check("shop\n", false);
    }

    #[test]
    fn a_database_name_fits_into_postgres() {
        let name: ResourceName = "a-name-that-is-exactly-forty-characters-"
            .trim_end_matches('-')
            .parse()
            .unwrap();
        let database = name.database_name(ResourceId::new());
        assert!(database.len() <= 63, "{database}");
        assert!(
            database.starts_with("a_name_that_is_exactly_f_"),
            "{database}"
        );
    }
}
