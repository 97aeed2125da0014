//! Every name in Redis, and nowhere else a name in Redis.
//!
//! The names of one shard share a hash tag, `{<namespace>:<ring>:<index>}`, so that a Redis Cluster
//! keeps them on one node and a script may touch them together.

use super::member::{Ring, Shard};

/// The names of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardKeys {
    /// Sorted set: waiting member → when it is due, in ms of Redis time.
    pub due: String,
    /// Sorted set: leased member → when its lease expires, in ms of Redis time.
    pub leased: String,
    /// Hash: leased member → `<token> <worker>`, and ` wake` behind it if it was woken.
    pub owner: String,
    /// String: the ring epoch; absent if there is no ring.
    pub epoch: String,
    /// String: the highest counter of a token so far.
    pub counter: String,
    /// Channel: a member that became due is published here.
    pub wakes: String,
}

impl ShardKeys {
    /// The names of `shard` in `namespace`.
    pub(super) fn new(namespace: &str, shard: Shard) -> Self {
        let name = |part: &str| format!("{{{namespace}:{shard}}}:{part}");
        Self {
            due: name("due"),
            leased: name("leased"),
            owner: name("owner"),
            epoch: name("epoch"),
            counter: name("counter"),
            wakes: name("wakes"),
        }
    }
}

/// Sorted set: live worker of a ring → until when it counts as alive, in ms of Redis time.
pub(super) fn workers(namespace: &str, ring: Ring) -> String {
    format!("{{{namespace}:workers:{ring}}}:alive")
}

/// The pattern that matches the channel of every shard.
pub(super) fn wakes_pattern(namespace: &str) -> String {
    format!("{{{namespace}:*}}:wakes")
}

/// The shard whose channel this is, if it is one of `namespace`.
pub(super) fn shard_of_wakes(namespace: &str, channel: &str) -> Option<Shard> {
    channel
        .strip_prefix('{')?
        .strip_prefix(namespace)?
        .strip_prefix(':')?
        .strip_suffix("}:wakes")?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_shard_share_its_hash_tag() {
        let keys = ShardKeys::new(
            "ringmaster",
            Shard {
                ring: Ring::Ring,
                index: 3,
            },
        );
        assert_eq!(keys.due, "{ringmaster:ring:3}:due");
        assert_eq!(keys.leased, "{ringmaster:ring:3}:leased");
        assert_eq!(keys.owner, "{ringmaster:ring:3}:owner");
        assert_eq!(keys.epoch, "{ringmaster:ring:3}:epoch");
        assert_eq!(keys.counter, "{ringmaster:ring:3}:counter");
        assert_eq!(keys.wakes, "{ringmaster:ring:3}:wakes");
        assert_eq!(
            workers("ringmaster", Ring::Jobs),
            "{ringmaster:workers:jobs}:alive"
        );
    }

    #[test]
    fn a_channel_names_its_shard() {
        let shard = Shard {
            ring: Ring::Urgent,
            index: 255,
        };
        let keys = ShardKeys::new("a", shard);
        assert_eq!(shard_of_wakes("a", &keys.wakes), Some(shard));
        assert_eq!(shard_of_wakes("b", &keys.wakes), None);
        assert_eq!(shard_of_wakes("a", "{a:urgent:x}:wakes"), None);
        assert_eq!(shard_of_wakes("a", ""), None);
    }
}
