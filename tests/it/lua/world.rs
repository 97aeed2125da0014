//! A queue in a Redis of its own, with one shard a ring and a clock in the test's hand.

use std::time::Duration;

use redis::FromRedisValue;
use shared::ids::WorkerId;
use shared::queue::{
    BeginReply, Claim, ClaimReply, Member, MemberKind, Outcome, Queue, QueueConfig, Ring,
    SettleReply, Settlement, Shard, Token,
};
use tests::redis_server::RedisServer;
use uuid::Uuid;

/// The shard of most tests.
pub(crate) const SHARD: Shard = Shard {
    ring: Ring::Ring,
    index: 0,
};

/// The time at which most tests begin, ms since 1970.
pub(crate) const START: u64 = 1_800_000_000_000;

/// The lease of most tests.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// A server, a queue in it, and the time that its scripts take for now.
pub(crate) struct World {
    pub(crate) server: RedisServer,
    real: Queue,
    now_ms: u64,
}

impl World {
    /// A queue without a ring epoch.
    pub(crate) async fn without_ring() -> Self {
        let server = RedisServer::start().await.unwrap();
        let config = QueueConfig::single(server.url())
            .unwrap()
            .with_shards(1)
            .unwrap();
        let real = Queue::connect(config).await.unwrap();
        Self {
            server,
            real,
            now_ms: START,
        }
    }

    /// A queue with ring epoch 1.
    pub(crate) async fn new() -> Self {
        let world = Self::without_ring().await;
        assert_eq!(
            world.queue().begin(SHARD, 1).await.unwrap(),
            BeginReply::Begun
        );
        world
    }

    /// The queue at the time of the test.
    pub(crate) fn queue(&self) -> Queue {
        self.real.at(self.now_ms)
    }

    /// The queue at the time of Redis.
    pub(crate) fn real(&self) -> &Queue {
        &self.real
    }

    /// Moves the time of the test.
    pub(crate) fn advance(&mut self, step: Duration) {
        self.now_ms += u64::try_from(step.as_millis()).unwrap();
    }

    /// Enters members that are due after so many seconds.
    pub(crate) async fn enter(&self, members: &[(Member, u64)]) {
        let members: Vec<_> = members
            .iter()
            .map(|&(member, secs)| (member, Duration::from_secs(secs)))
            .collect();
        self.queue().enter(SHARD.ring, &members).await.unwrap();
    }

    /// Claims for `LEASE`; fails if there is no ring.
    pub(crate) async fn claim(&self, worker: WorkerId, limit: u16) -> Vec<Claim> {
        self.claim_and_wait(worker, limit).await.0
    }

    /// Claims for `LEASE`, and says when more is due.
    pub(crate) async fn claim_and_wait(
        &self,
        worker: WorkerId,
        limit: u16,
    ) -> (Vec<Claim>, Option<Duration>) {
        match self
            .queue()
            .claim(SHARD, limit, LEASE, worker)
            .await
            .unwrap()
        {
            ClaimReply::Claims { claims, next_due } => (claims, next_due),
            ClaimReply::NoRing => panic!("there is no ring"),
        }
    }

    /// Claims the only member that is due.
    pub(crate) async fn claim_one(&self, worker: WorkerId) -> Claim {
        let claims = self.claim(worker, 500).await;
        assert_eq!(claims.len(), 1, "{claims:?}");
        claims[0]
    }

    /// Settles one claim.
    pub(crate) async fn settle(
        &self,
        worker: WorkerId,
        claim: &Claim,
        outcome: Outcome,
    ) -> SettleReply {
        self.settle_as(worker, claim.member, claim.token, outcome)
            .await
    }

    /// Settles a member with any token.
    pub(crate) async fn settle_as(
        &self,
        worker: WorkerId,
        member: Member,
        token: Token,
        outcome: Outcome,
    ) -> SettleReply {
        let settlement = Settlement {
            member,
            token,
            outcome,
        };
        let replies = self
            .queue()
            .settle(SHARD, &[settlement], worker)
            .await
            .unwrap();
        assert_eq!(replies.len(), 1);
        replies[0]
    }

    /// When a waiting member is due, in ms after `START`.
    pub(crate) async fn due(&self, member: Member) -> Option<i64> {
        let keys = self.queue().keys(SHARD);
        let due: Option<i64> = self.raw(&["ZSCORE", &keys.due, &member.to_string()]).await;
        due.map(|due| due - i64::try_from(START).unwrap())
    }

    /// When the lease of a member expires, in ms after `START`.
    pub(crate) async fn lease(&self, member: Member) -> Option<i64> {
        let keys = self.queue().keys(SHARD);
        let expires: Option<i64> = self
            .raw(&["ZSCORE", &keys.leased, &member.to_string()])
            .await;
        expires.map(|expires| expires - i64::try_from(START).unwrap())
    }

    /// The owner entry of a member.
    pub(crate) async fn owner(&self, member: Member) -> Option<String> {
        let keys = self.queue().keys(SHARD);
        self.raw(&["HGET", &keys.owner, &member.to_string()]).await
    }

    /// Any command.
    pub(crate) async fn raw<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.server.command(words).await.unwrap()
    }
}

/// A resource with a readable id.
pub(crate) fn resource(number: u128) -> Member {
    Member::new(MemberKind::Resource, Uuid::from_u128(number))
}

/// A worker with a readable id.
pub(crate) fn worker(number: u128) -> WorkerId {
    WorkerId::from_uuid(Uuid::from_u128(number))
}

/// Due again after so many seconds.
pub(crate) fn again(secs: u64) -> Outcome {
    Outcome::Again(Duration::from_secs(secs))
}
