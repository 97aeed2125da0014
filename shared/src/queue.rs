//! The queue: what is to be worked on, and when. All use of Redis is in here.
//!
//! # Structure
//!
//! There are four queues ([`Ring`]), each cut into shards ([`Shard`]) by a stable hash of the
//! member. A member ([`Member`]) stands for a row of the control database and is in its queue at
//! most once. In Redis, a shard is (see [`ShardKeys`]):
//!
//! | key | type | content |
//! |---|---|---|
//! | `due` | sorted set | waiting member → when it is due, ms |
//! | `leased` | sorted set | leased member → when its lease expires, ms |
//! | `owner` | hash | leased member → `token=<token> worker=<id>`, then ` wake` once it was woken |
//! | `epoch` | string | the ring epoch; without it nothing is claimed |
//! | `counter` | string | the highest counter of a token so far |
//! | `wakes` | channel | a member that became due is published here |
//!
//! ```text
//!            enter, wake              claim (due, or lease expired)
//!  (absent) ─────────────▶ due ─────────────────────────────▶ leased, owner
//!     ▲                     ▲                                   │   │
//!     │                     └──── settle again, or woken ───────┘   │
//!     └────────────────────────── settle done, leave ───────────────┘
//! ```
//!
//! An entry of `owner` is longer than 64 bytes on purpose: Redis then keeps the hash as a table from
//! the first entry on, and not as a list for the first 128, which halved the cycles in a second.
//!
//! Each verb is one script in `lua/`, and so one atomic step; [`verbs`](Queue) has a method for
//! each. Nothing in Redis grows with the number of turns.
//!
//! # Time
//!
//! All times are those of Redis (`TIME` inside the script): a worker whose clock is wrong can
//! neither steal nor overstay a lease. If the clock of Redis itself jumps, leases and delays get
//! longer or shorter, and nothing else happens. Tests give the time with [`Queue::at`].
//!
//! # What a token is good for
//!
//! `settle` and `extend` have an effect only if `owner` holds exactly this token *and* this worker.
//! So what comes late is refused, whatever happened meanwhile:
//!
//! - *The lease expired and another worker took over*: the owner has another token and worker. (If
//!   nobody took over, the lease is still good; nobody was harmed.)
//! - *`FLUSHALL`, or Redis restarted empty*: there is no owner. Once the ring was built anew, tokens
//!   have the new ring epoch, which comes from a sequence of the control database and is higher than
//!   all before.
//! - *Redis rolled back to an older copy*, by a restart from a dump or by a failover to a replica
//!   that lagged behind: the ring epoch is the same, and a mere counter would be handed out a second
//!   time. Therefore the counter never falls behind the microseconds of Redis time: all tokens
//!   given after the rollback are greater than all given before it, unless more than a million
//!   leases a second were given in one shard, or the clock of Redis went back by more than it was
//!   rolled back. Even then the entry names the worker, so that a token can at worst be mistaken for
//!   one of the same worker, never for another's lease. Leases that the copy still has are those of
//!   its time: their workers may settle them (again), which only moves a due time; members that
//!   entered since the copy was made come back by the audit.
//! - *Two masters* for a while, during a failover: both may lease the same member. The queue cannot
//!   prevent that; row versions and generations do (leases save work, versions give safety).
//!
//! # Wakes are never lost
//!
//! A wake finds the member absent (it enters, due now), waiting (its due time becomes now) or leased
//! (a mark at its owner: `settle` then makes it due at once, whatever the turn wished, even *done*).
//! If a marked lease expires, it is claimed again as it is, and the mark has served its purpose. A
//! wake before `begin`, as after a flush, is kept too.
//!
//! # A missing ring
//!
//! [`ClaimReply::NoRing`] says that the shard has no epoch: Redis was emptied. Build the shard anew
//! by `enter` for all its members first and `begin` last, so that a builder that dies half-way
//! leaves a ring that is still missing, which the next claim notices.
//!
//! # What it does not do
//!
//! It keeps no payload, no results, no history and no attempts: a member is an id, and everything
//! else is in the control database. It does not share shards out among workers; it only says which
//! workers live ([`Queue::live_workers`]).
//!
//! To add a verb: a file `lua/<verb>.lua` with the same header as its neighbours, a line in
//! `scripts.rs`, a function in `reply.rs`, a method in `verbs.rs`, and tests in a module of its name.

mod answers;
mod config;
mod error;
mod keys;
mod link;
mod member;
mod place;
mod presence;
mod reply;
mod scripts;
mod verbs;
mod wakes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use answers::{
    BeginReply, Claim, ClaimReply, EnterReply, LeaveReply, MembersCursor, MembersPage, Outcome,
    SettleReply, Settlement, ShardStats, WakeReply,
};
pub use config::{QueueConfig, RedisAddress, SHARDS_DEFAULT, SHARDS_MAX, SentinelAddress};
pub use error::QueueError;
pub use keys::ShardKeys;
pub use member::{InvalidText, Member, MemberKind, Ring, Shard, Token};
pub use verbs::BATCH_MAX;
pub use wakes::Wakes;

use link::Link;

/// The queue in one Redis. Clones share a connection.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
    /// The time that scripts take for now, in ms since 1970; `None`: that of Redis.
    now_ms: Option<u64>,
}

struct Inner {
    link: Arc<Link>,
    namespace: String,
    shards: u16,
}

impl Queue {
    /// Prepares the queue and tries to connect. A Redis that is away is no error here, but one of
    /// each verb until it is back.
    ///
    /// # Errors
    ///
    /// [`QueueError::InvalidConfig`] only.
    pub async fn connect(config: QueueConfig) -> Result<Self, QueueError> {
        let link = Link::new(&config)?;
        if let Err(error) = link.connect().await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(error = %error, source, "goes on without Redis for now");
        }
        let QueueConfig {
            namespace, shards, ..
        } = config;
        Ok(Self {
            inner: Arc::new(Inner {
                link,
                namespace,
                shards,
            }),
            now_ms: None,
        })
    }

    /// The same queue, whose scripts take `now_ms` (ms since 1970) for the present: for tests and
    /// the simulator. Workers let Redis tell the time.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            now_ms: Some(now_ms),
        }
    }

    /// The shard that a member belongs to, by a hash that is the same in every release.
    pub fn shard_of(&self, ring: Ring, member: &Member) -> Shard {
        let index = member.stable_hash() % u64::from(self.inner.shards);
        Shard {
            ring,
            index: u16::try_from(index).unwrap_or_default(),
        }
    }

    /// All shards of a queue.
    pub fn shards(&self, ring: Ring) -> impl Iterator<Item = Shard> + use<> {
        (0..self.inner.shards).map(move |index| Shard { ring, index })
    }

    /// The names of a shard in Redis, for those who look at it with other tools.
    pub fn keys(&self, shard: Shard) -> ShardKeys {
        ShardKeys::new(&self.inner.namespace, shard)
    }

    /// The first argument of most scripts: empty for the time of Redis.
    fn now_argument(&self) -> String {
        self.now_ms.map(|now| now.to_string()).unwrap_or_default()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("namespace", &self.inner.namespace)
            .field("shards", &self.inner.shards)
            .finish_non_exhaustive()
    }
}

/// Whole milliseconds of a duration; the longest there is for one that is longer.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
