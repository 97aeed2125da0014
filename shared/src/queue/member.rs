//! The words of the queue as types with one text form each: ring, member, token, shard.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}")]
pub struct InvalidText {
    what: &'static str,
    text: String,
}

impl InvalidText {
    fn new(what: &'static str, text: &str) -> Self {
        Self {
            what,
            text: text.chars().take(80).collect(),
        }
    }
}

/// One of the queues. Workers claim them in the order of [`Ring::ALL`], so that nothing starves
/// what is urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::enum_variant_names,
    reason = "the queue that is only a ring is called so"
)]
pub enum Ring {
    /// Premium resources, for ever, and every recovery.
    Urgent,
    /// All other resources and servers, for ever.
    Ring,
    /// What ends when its goal is reached: provisioning, deprovisioning.
    Jobs,
    /// What keeps the archive: a flood of WAL takes nothing from the others.
    Archive,
}

impl Ring {
    /// All queues, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::Ring, Self::Jobs, Self::Archive];

    /// Its name in keys, metrics and options.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Ring => "ring",
            Self::Jobs => "jobs",
            Self::Archive => "archive",
        }
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Ring {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::ALL
            .into_iter()
            .find(|ring| ring.as_str() == text)
            .ok_or_else(|| InvalidText::new("ring", text))
    }
}

/// What a member is, and with it which handler turns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberKind {
    /// Feel and tick one resource.
    Resource,
    /// Look after one server.
    Server,
    /// Bring one resource into being.
    Provision,
    /// Take one resource out of the world.
    Deprovision,
    /// Bring one resource back from dead hardware.
    Recover,
    /// Bring one follower to where it shall be.
    CatchUp,
    /// Push the WAL of one timeline to the archive.
    WalPush,
    /// Make a base backup of one timeline.
    BaseBackup,
    /// Delete what one timeline does not keep any more.
    Expire,
    /// Prove that one timeline can be restored.
    Verify,
}

impl MemberKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Resource,
        Self::Server,
        Self::Provision,
        Self::Deprovision,
        Self::Recover,
        Self::CatchUp,
        Self::WalPush,
        Self::BaseBackup,
        Self::Expire,
        Self::Verify,
    ];

    /// Its name in members, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Server => "server",
            Self::Provision => "provision",
            Self::Deprovision => "deprovision",
            Self::Recover => "recover",
            Self::CatchUp => "catch_up",
            Self::WalPush => "wal_push",
            Self::BaseBackup => "base_backup",
            Self::Expire => "expire",
            Self::Verify => "verify",
        }
    }
}

impl fmt::Display for MemberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MemberKind {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| InvalidText::new("kind of member", text))
    }
}

/// One thing to work on, `<kind>:<uuid>`; at most once in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Which handler turns it.
    pub kind: MemberKind,
    /// The id of the row it stands for.
    pub id: Uuid,
}

impl Member {
    /// The member of this kind and row.
    pub const fn new(kind: MemberKind, id: Uuid) -> Self {
        Self { kind, id }
    }

    /// A number that depends on nothing but the member, the same in every release: it decides the
    /// shard (FNV-1a over kind and id, then mixed as in `SplitMix64`).
    pub(super) fn stable_hash(&self) -> u64 {
        let bytes = self.kind.as_str().bytes().chain(self.id.into_bytes());
        let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = Uuid::encode_buffer();
        f.write_str(self.kind.as_str())?;
        f.write_str(":")?;
        f.write_str(self.id.hyphenated().encode_lower(&mut buffer))
    }
}

impl FromStr for Member {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let invalid = || InvalidText::new("member", text);
        let (kind, id) = text.split_once(':').ok_or_else(invalid)?;
        Ok(Self {
            kind: kind.parse().map_err(|_| invalid())?,
            id: Uuid::try_parse(id).map_err(|_| invalid())?,
        })
    }
}

/// The proof of one lease, `<epoch>.<counter>`: unique, and later leases have greater ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The ring epoch in which the lease was given.
    pub epoch: u64,
    /// Grows within a shard, and never lags behind the microseconds of Redis time.
    pub counter: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

impl FromStr for Token {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let invalid = || InvalidText::new("token", text);
        let (epoch, counter) = text.split_once('.').ok_or_else(invalid)?;
        Ok(Self {
            epoch: epoch.parse().map_err(|_| invalid())?,
            counter: counter.parse().map_err(|_| invalid())?,
        })
    }
}

/// One part of one queue, `<ring>:<index>`: what a script works on, and what a worker owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// The queue.
    pub ring: Ring,
    /// Which part, from 0.
    pub index: u16,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ring, self.index)
    }
}

impl FromStr for Shard {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let invalid = || InvalidText::new("shard", text);
        let (ring, index) = text.split_once(':').ok_or_else(invalid)?;
        Ok(Self {
            ring: ring.parse().map_err(|_| invalid())?,
            index: index.parse().map_err(|_| invalid())?,
        })
    }
}

#[cfg(test)]
mod tests;
